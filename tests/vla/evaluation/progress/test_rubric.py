"""Stages and their credit, without a simulator."""

from __future__ import annotations

import numpy as np
import pytest

from vla.deploy.robots.metaworld import SIGNALS
from vla.evaluation.progress.rubric import FULL, Rubric, Stage
from vla.evaluation.progress.rubrics import load_rubrics, packaged_rubrics
from vla.evaluation.progress.tracker import SOLVED, Progress, ProgressTracker

ROWS = [
    {"stage": "approach", "weight": 30, "signal": "hand_to_object", "at_most": 0.1},
    {"stage": "grasp", "weight": 20, "signal": "grasp_success", "at_least": 1, "partial": False},
    {"stage": "move", "weight": 30, "signal": "obj_to_target", "at_most": 0.0},
    {"stage": "solve", "weight": 20, "signal": "success", "at_least": 1, "partial": False},
]


def rubric(**changed) -> Rubric:
    return Rubric.from_data("reach-v3", [ROWS[0] | changed, *ROWS[1:]], SIGNALS)


def told(hand: float = 0.5, grasped: float = 0.0, left: float = 0.4, success: float = 0.0) -> dict:
    return {
        "hand_to_object": hand, "grasp_success": grasped, "obj_to_target": left, "success": success,
    }  # fmt: skip


def follow(*moments: dict) -> list[Progress]:
    tracker = ProgressTracker(rubric())
    found = []
    for signals in moments:
        tracker.update(signals)
        found.append(tracker.progress)
    return found


def test_credit_grows_from_where_the_attempt_began():
    far, half, near = follow(told(0.5), told(0.3), told(0.1))
    assert far == Progress(0.0, "approach") and half == Progress(15.0, "approach")
    assert near == Progress(30.0, "grasp")


def test_a_stage_opens_when_the_one_before_is_complete():
    """The object that moves by itself is no merit; once the hand is there and holds it, it is."""
    drifting, holding = follow(told(0.5), told(0.5, left=0.1), told(0.1, 1.0, 0.1))[1:]
    assert drifting == Progress(0.0, "approach")
    assert holding == Progress(30 + 20 + 30 * 0.75, "move")


def test_what_is_done_stays_done():
    path = [told(0.5), told(0.2), told(0.6), told(0.1, 1.0), told(0.4, 0.0, 0.2), told(0.5)]
    scores = [progress.score for progress in follow(*path)]
    assert scores == sorted(scores) and scores[-1] == 30 + 20 + 15


def test_success_completes_everything():
    assert follow(told(), told(success=1.0), told())[1:] == [Progress(FULL, SOLVED)] * 2


def test_nothing_told_changes_nothing():
    tracker = ProgressTracker(rubric())
    tracker.update({})
    tracker.update(told(0.3))
    assert tracker.progress == Progress(0.0, "approach"), "the first values are those after a step"


def test_a_signal_that_is_not_told_is_named():
    with pytest.raises(KeyError, match="'grasp_success', which the robot does not tell"):
        ProgressTracker(rubric()).update({"hand_to_object": 1.0, "success": 0.0})


@pytest.mark.parametrize("bound", [-1.0, 0.5])
@pytest.mark.parametrize("first", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("side", ["at_most", "at_least"])
def test_credit_is_a_share(side, bound, first):
    stage = Stage("a", 1.0, "success", **{side: bound})
    values = np.linspace(-3, 3, 61)
    credits = [stage.credit(now, first) for now in values]
    rising = credits if side == "at_least" else credits[::-1]
    assert rising == sorted(rising) and min(credits) >= 0.0 and max(credits) == 1.0
    complete = [now <= bound if side == "at_most" else now >= bound for now in values]
    assert [credit == 1.0 for credit in credits] == complete


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"signal": "near_objekt"}, "measured by 'near_objekt', which nobody tells. There are"),
        ({"weight": 40}, "add up to 110, not to 100"),
        ({"weight": 0}, "a weight above 0"),
        ({"weight": "much"}, "weight of 'approach' must be a number, got 'much'"),
        ({"at_least": 1}, "give one of them, not 0.1 and 1"),
        ({"at_most": None}, "must be a number, got None"),
        ({"stage": "move"}, "names of their own"),
        ({"bonus": 3}, r"a stage has no \['bonus'\]; it has \['at_least'"),
    ],
)
def test_a_wrong_stage_is_refused(changed, says):
    with pytest.raises(ValueError, match=says):
        rubric(**changed)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("reach-v4: []", "no task 'reach-v4'. Perhaps: reach-v3"),
        ("reach-v3: {stage: a}", "reach-v3: give a list of stages"),
        ("reach-v3: [{stage: a, weight: 100}]", r"lacks \['signal'\]"),
        ("reach-v3: []", "stages have names of their own, got"),
        ("- a", "for each task, by its name"),
        ("reach-v3: [", "no valid YAML"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, says):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match=says):
        load_rubrics(tmp_path / "own.yaml")


def test_those_that_come_along_end_with_success():
    assert len(packaged_rubrics()) >= 17
    for task, found in packaged_rubrics().items():
        assert found.stages[-1].signal == "success", task
