"""Rubrics in the simulator: what the expert and an idle arm score, and what a rollout keeps."""

from __future__ import annotations

import pytest

from vla import cli
from vla.deploy.robots.metaworld import SIGNALS, MetaWorldRobot
from vla.evaluation.progress.rubric import FULL, Rubric
from vla.evaluation.progress.rubrics import packaged_rubrics
from vla.evaluation.progress.verify import verify


@pytest.mark.parametrize("task", ["coffee-button-v3", "pick-place-v3", "reach-v3"])
def test_an_expert_passes_every_stage_and_an_idle_arm_none(simulator, task):
    check = verify(packaged_rubrics()[task], 1)
    (expert,), (idle,) = check.expert, check.idle
    assert expert.success and expert.scores[-1] == FULL and expert.is_monotone
    assert not check.skipped and len(set(expert.scores)) > 10, "credit comes bit by bit"
    assert idle.scores[-1] < 5 and not idle.success


def test_the_robot_tells_nothing_before_its_first_step(simulator):
    with MetaWorldRobot("reach-v3", 16, ("corner3",)) as robot:
        robot.reset(3)
        assert robot.signals() == {}
        robot.step(robot.expert_action())
        assert set(robot.signals()) == set(SIGNALS)
        robot.reset(4)
        assert robot.signals() == {}


def test_a_rubric_that_success_skips_is_found(simulator):
    """The expert opens the gripper on its way: a stage that asks for a grasp is never complete."""
    rows = [
        {"stage": "grasp", "weight": 50, "signal": "unscaled_reward", "at_least": 1e6},
        {"stage": "solve", "weight": 50, "signal": "success", "at_least": 1},
    ]
    check = verify(Rubric.from_data("reach-v3", rows, SIGNALS), 1)
    assert check.skipped == ["grasp"]


def test_the_command_says_what_is_wrong(simulator, tmp_path, capsys):
    (tmp_path / "own.yaml").write_text(
        "reach-v3:\n"
        "  - {stage: begin, weight: 60, signal: success, at_most: 0}\n"
        "  - {stage: solve, weight: 40, signal: success, at_least: 1}\n"
    )
    words = ["rubrics", "--rubrics", str(tmp_path / "own.yaml"), "--starts", "1"]
    assert cli.main(words) == 1
    assert "doing nothing scores 60" in capsys.readouterr().out
    assert cli.main(["rubrics", "--tasks", "reach-v3", "--starts", "1"]) == 0
    assert "1 of 1" in capsys.readouterr().out
    assert cli.main(["rubrics", "--tasks", "hammer-v3"]) == 1
    assert "no rubric for ['hammer-v3']" in capsys.readouterr().err
