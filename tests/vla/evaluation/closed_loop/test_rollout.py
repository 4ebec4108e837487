"""A policy in the simulator: what it sees and does is what it was shown in training."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from rvq_action.data.lerobot import LeRobotReader
from tests.vla.evaluation.closed_loop.conftest import DEMOS, SIZE
from vla import cli
from vla.data.robot_source import RobotSource
from vla.deploy.robots.metaworld import ROBOT_TYPE, MetaWorldRobot
from vla.evaluation.closed_loop.crew import Crew
from vla.evaluation.closed_loop.loop import Moment, Rules, play
from vla.evaluation.closed_loop.planners import PolicyPlanner, ShuffledChunks
from vla.evaluation.closed_loop.results import REPORT
from vla.evaluation.closed_loop.starts import Start
from vla.images import fit


class Replay:
    """Plans what the expert did from there on, in the policy's units."""

    def __init__(self, planner: PolicyPlanner, recording: dict[str, np.ndarray]) -> None:
        self.planner, self.recording = planner, recording

    def plan(self, moments):
        rest = [self.recording["action"][7 * m.plans :] for m in moments]
        chunks = [self.planner.rows.read_actions(actions) for actions in rest]
        return [self.planner.to_robot(chunk) for chunk in chunks]


def demonstration(dataset, number: int):
    """Task, recording and seed of an episode."""
    task, episode = DEMOS.tasks[number // DEMOS.episodes], number % DEMOS.episodes
    return task, LeRobotReader(dataset).episode(number), DEMOS.seeds(task, episode)[0]


@pytest.mark.parametrize("number", [0, 3])
def test_the_experts_actions_succeed_through_the_policys_way(recorded, policy, number):
    task, recording, seed = demonstration(recorded, number)
    start, planner = Start(task, 0, seed), PolicyPlanner(policy)
    crew = Crew(lambda t: MetaWorldRobot(t, SIZE, ("corner3",)), 1)
    rules = Rules(lambda t: "go", 7, 200)
    (outcome,) = play([start], crew, Replay(planner, recording), rules)
    crew.close()
    assert outcome.success and outcome.steps == len(recording["action"]) - 5


def test_the_policy_sees_what_it_saw_in_training(recorded, policy):
    """Pictures differ by the video's compression, words and state not at all."""
    source = RobotSource.open(recorded, policy.config, policy.tokenizer)
    planner = PolicyPlanner(policy)
    index = next(i for i in range(len(source.windows)) if source.windows.start_of(i) == 0)
    chunk, shown = source.chunk([index]), source.images(index)
    number = source.windows.episode_of(index)
    task, _, seed = demonstration(recorded, number)
    with MetaWorldRobot(task, SIZE, ("corner3",)) as robot:
        robot.reset(seed)
        told = source.instruction(index, 0.0, np.random.default_rng(0))
        assert told == robot.instruction
        now = planner._observe(Moment(Start(task, 0, seed), 0, robot.instruction, robot))
    np.testing.assert_array_equal(now.proprio, chunk.anchor[0])
    assert now.fps == chunk.fps and planner.horizon == chunk.horizon
    assert now.images.keys() == shown.keys() == set(policy.config.cameras[ROBOT_TYPE])
    for name, image in now.images.items():
        difference = np.abs(image.astype(float) - fit(shown[name], SIZE)).mean()
        assert difference < 4 < np.abs(image.astype(float)[:, ::-1] - shown[name]).mean()


@pytest.fixture
def saved(policy, tmp_path):
    policy.save_pretrained(tmp_path / "policy")
    return tmp_path / "policy"


def rollout(saved, out, *more: str) -> int:
    words = ["rollout", "--policy", saved, "--out", out, "--max_steps", "20", "--workers", "1"]
    return cli.main([str(word) for word in [*words, "--tasks", "reach-v3", *more]])


@pytest.mark.parametrize("pathway", ["flow", "ar"])
def test_the_command_counts_and_goes_on(saved, tmp_path, capsys, pathway):
    out = tmp_path / "out"
    more = ("--pathway", pathway, "--steps", "2", "--execute_frames", "10")
    assert rollout(saved, out, "--starts", "1", "--video", "1", *more) == 0
    assert "reach-v3" in capsys.readouterr().out
    lines = (out / "outcomes.jsonl").read_text().splitlines()
    assert rollout(saved, out, "--starts", "2", *more) == 0
    assert (out / "outcomes.jsonl").read_text().splitlines()[:2] == lines
    report = json.loads((out / REPORT).read_text())
    assert report["tasks"]["reach-v3"]["count"] == 2
    assert report["outcomes"][0]["instruction"] == "Move the gripper to the goal."
    film = out / "videos" / "reach-v3-000.mp4"
    import av

    with av.open(str(film)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == report["outcomes"][0]["steps"] + 1 and frames[0].shape == (SIZE, SIZE, 3)
    assert rollout(saved, out, "--starts", "2", "--seed", "1", *more) == 1
    assert "outcomes of something else" in capsys.readouterr().err


def test_the_fast_path_finds_what_the_usual_one_finds(saved, tmp_path, capsys, fast_calls):
    told = "--starts", "1", "--steps", "2", "--execute_frames", "10"
    for name, more in (("slow", ()), ("fast", ("--fast",))):
        assert rollout(saved, tmp_path / name, *told, *more) == 0
        assert bool(fast_calls) == bool(more)
    slow, fast = (json.loads((tmp_path / n / REPORT).read_text()) for n in ("slow", "fast"))
    assert slow["tasks"] == fast["tasks"]
    assert rollout(saved, tmp_path / "none", *told, "--pathway", "ar", "--fast") == 1
    assert "Leave out --fast" in capsys.readouterr().err


def test_two_processes_find_what_one_finds(saved, tmp_path):
    told = (
        "--starts",
        "2",
        "--steps",
        "2",
        "--execute_frames",
        "10",
        "--instruction_of",
        "push-v3",
    )
    assert rollout(saved, tmp_path / "one", *told) == 0
    assert rollout(saved, tmp_path / "two", *told, "--workers", "2") == 0
    one, two = (json.loads((tmp_path / n / REPORT).read_text()) for n in ("one", "two"))
    assert one == two
    assert one["outcomes"][0]["instruction"] == "Push the puck along the table to the goal."


def test_the_control_plays_recorded_chunks_whatever_it_sees(recorded, saved, tmp_path):
    planner = ShuffledChunks([recorded], 20)
    moments = [Moment(Start("reach-v3", n, 2**32 + n), 3, "go", None) for n in range(30)]
    played, again = planner.plan(moments), planner.plan(moments[:2])
    np.testing.assert_array_equal(played[1], again[1])
    reader = LeRobotReader(recorded)
    whole = [reader.episode(i)["action"] for i in range(reader.num_episodes)]
    found = {
        next(
            i
            for i, actions in enumerate(whole)
            for first in range(len(actions) - 19)
            if np.array_equal(actions[first : first + 20], chunk)
        )
        for chunk in played
    }
    assert len(found) == 4, "of every episode, of both tasks"
    more = ("--starts", "1", "--control", "shuffled", "--data", str(recorded))
    assert rollout(saved, tmp_path / "out", *more) == 0


def test_a_policy_that_cannot_act_there_says_why(policy, saved, tmp_path, capsys, tokenizer):
    assert rollout(tmp_path / "nothing", tmp_path / "out") == 1
    assert "There is no policy in" in capsys.readouterr().err
    assert rollout(saved, tmp_path / "out", "--execute_frames", "21") == 1
    assert "execute_frames is 21, but the policy's chunks have 20 frames" in capsys.readouterr().err
    blind = replace(policy.config, cameras={ROBOT_TYPE: ("nose",)})
    replace(policy, config=blind).save_pretrained(tmp_path / "blind")
    assert rollout(tmp_path / "blind", tmp_path / "other") == 1
    assert "Meta-World has no camera ['nose']" in capsys.readouterr().err
    foreign = replace(policy, tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r"knows \['arm', 'wall'\], but Meta-World's robot is"):
        PolicyPlanner(foreign)


def test_every_task_is_tried_under_every_instruction(saved, tmp_path, capsys):
    words = ["listen", "--policy", saved, "--out", tmp_path / "out", "--starts", "1"]
    words += ["--max_steps", "10", "--workers", "1", "--robots", "2"]
    assert cli.main(list(map(str, words))) == 0
    rows = json.loads((tmp_path / "out" / "listening.json").read_text())
    assert [(row["task"], row["told"], row["count"]) for row in rows] == [
        ("reach-v3", "reach-v3", 1),
        ("push-v3", "reach-v3", 1),
        ("reach-v3", "push-v3", 1),
        ("push-v3", "push-v3", 1),
    ]
    told = json.loads((tmp_path / "out" / "told-push-v3" / REPORT).read_text())
    assert told["settings"]["look_alike"] is True
    assert {o["instruction"] for o in told["outcomes"]} == {
        "Push the puck along the table to the goal."
    }
    assert "told to" in capsys.readouterr().out
