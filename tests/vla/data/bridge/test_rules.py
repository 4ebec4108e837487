"""What is asked about an episode, and what is left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from rvq_action import ActionLayout, Channel, DeltaRule, joint_space
from rvq_action.data.episode import Episode
from vla.data.bridge.balance import answers_of, balance
from vla.data.bridge.question import Question
from vla.data.bridge.rules import RULES
from vla.data.bridge.track import Track, read_tracks

FPS = 10
TASKS = ["close the door", "push the drawer"]


def track(gripper=None, limb=None, length: int = 60, task: str = TASKS[0]) -> Track:
    """10 Hz; what is not given does not exist."""
    grippers = {} if gripper is None else {"the gripper": np.asarray(gripper, float)}
    limbs = {} if limb is None else {"the robot": np.asarray(limb, float)[:, None]}
    return Track(3, task, FPS, length, grippers, limbs)


def ask(kind: str, of: Track, tasks=TASKS) -> dict[int, str]:
    """First frame -> answer."""
    found = list(RULES[kind](of, tasks))
    assert all(q.kind == kind and q.episode == 3 and q.answer in q.text for q in found)
    return {q.frames[0]: q.answer for q in found}


def test_the_task_is_asked_once_it_may_show():
    assert ask("task", track()) == dict.fromkeys(range(12, 60), TASKS[0])
    assert ask("task", track(), TASKS[:1]) == {} and ask("task", track(task="")) == {}


GRASP = np.repeat([1.0, 0.5, 0.0, 1.0], [20, 2, 20, 18])
"""Open, closing at 22, closed, open again at 42."""


def test_phases_are_before_between_and_after():
    found = ask("phase", track(GRASP))
    assert Counter(found.values()) == {
        "it has not closed yet": 17,
        "it is closed": 9,
        "it has opened again": 12,
    }
    assert found[16] == "it has not closed yet" and found[28] == "it is closed"
    assert found[48] == "it has opened again"
    assert not {17, 21, 22, 27, 37, 42, 47} & set(found)


@pytest.mark.parametrize(
    "gripper",
    [1 - GRASP, np.ones(60), np.tile(np.repeat([1.0, 0.0], 10), 3)],
    ids=["begins closed", "never closes", "closes three times"],
)
def test_other_courses_have_no_phases(gripper):
    assert ask("phase", track(gripper)) == {}


def test_changes_name_all_that_moved():
    ramp = np.interp(np.arange(60), [0, 10, 20], [0.0, 0.0, 1.0])
    found = ask("change", track(GRASP, ramp))
    assert found[0] == "nothing moved" and found[25] == "nothing moved"
    assert found[5] == "the robot moved"
    assert found[15] == "the robot moved; the gripper closed"
    assert found[35] == "the gripper opened"
    assert 1 not in found  # the robot moved by a tenth: open to doubt
    pairs = {q.frames[1] - q.frames[0] for q in RULES["change"](track(GRASP, ramp), TASKS)}
    assert pairs == {FPS}


def test_the_gripper_is_foretold_for_a_second():
    found = ask("gripper", track(GRASP))
    assert found[0] == "it stays" and found[9] == "it stays"
    assert found[12] == "it closes" and found[40] == "it opens"
    assert max(found) == 49
    jitter = np.where(np.arange(60) % 2, 0.4, 0.6)
    assert ask("gripper", track(jitter)) == {}


def test_progress_is_asked_around_quarters():
    found = ask("progress", track(length=101))
    assert found[0] == "0 %" and found[4] == "0 %" and found[25] == "25 %" and found[100] == "100 %"
    assert not {5, 12, 20, 30, 60} & set(found)


def test_tracks_take_the_measured_state_and_else_the_gripper_command():
    closing = Channel("jaw", "gripper", "tool/gripper", DeltaRule.RAW)
    idle = Channel("jaw2", "gripper", "tool2/gripper", DeltaRule.RAW)
    layout = ActionLayout("arm", (*joint_space(2).channels, closing, idle))
    actions = np.zeros((20, 4), np.float32)
    actions[:, 2] = np.linspace(0.2, 0.6, 20)
    proprio = np.zeros((20, 4), np.float32)
    proprio[:, 0] = np.linspace(3.0, 5.0, 20)
    known = np.array([True, False, False, False])
    all_real = np.ones(4, bool)
    episode = Episode(0, "go.", 10.0, "arm", layout, actions, all_real, proprio, known)
    further = replace(episode, proprio=2 * proprio)
    found, _ = read_tracks([episode, further], train=[0])
    assert list(found.limbs) == ["the robot"] and list(found.grippers) == ["the gripper"]
    np.testing.assert_allclose(found.limbs["the robot"][:, 0], np.linspace(0, 1, 20), atol=1e-6)
    np.testing.assert_allclose(found.grippers["the gripper"], np.linspace(0, 1, 20), atol=1e-6)
    assert found.task == "go"


def questions(**counts: int) -> list[Question]:
    return [
        Question("kind", "?", answer, frame % 5, (frame,))
        for answer, count in counts.items()
        for frame in range(count)
    ]


def test_answers_are_balanced_and_episodes_take_turns():
    chosen = balance(questions(a=50, b=20, c=10, rare=4), 15, np.random.default_rng(0))
    assert answers_of(chosen) == {"kind": {"a": 4, "b": 4, "c": 4, "rare": 4}}
    chosen = balance(questions(a=90, b=20, rare=4), 100, np.random.default_rng(0))
    assert answers_of(chosen) == {"kind": {"a": 20, "b": 20}}
    episodes = Counter(q.episode for q in chosen if q.answer == "b")
    assert set(episodes.values()) == {4}
    assert balance(questions(a=9, b=1), 15, np.random.default_rng(0)) == []


def test_held_out_answers_are_those_of_training():
    known = frozenset([("kind", "a"), ("kind", "b")])
    chosen = balance(questions(a=9, b=9, c=9), 5, np.random.default_rng(0), known)
    assert answers_of(chosen) == {"kind": {"a": 5, "b": 5}}
