"""Questions about real recordings."""

from __future__ import annotations

import numpy as np

from rvq_action.data.dataset import RobotDataset
from vla.data.bridge.balance import answers_of
from vla.data.bridge.rules import PHASES, ask_phase
from vla.data.bridge.settings import BridgeSettings
from vla.data.bridge.track import read_tracks
from vla.data.bridge.write import choose_questions


def test_a_gripper_that_only_commands_tell_of(shared_data):
    """The CR5's state has no gripper; it closes and opens once per episode, with one exception."""
    episodes = RobotDataset.open(shared_data / "cr5_banana").episodes
    tracks = read_tracks(episodes, range(len(episodes)))
    assert {name for track in tracks for name in track.grippers} == {"the gripper"}
    phases = [[q.answer for q in ask_phase(track, ())] for track in tracks]
    whole = [list(dict.fromkeys(found)) for found in phases if set(found) == set(PHASES)]
    assert len(whole) >= 55 and all(order == list(PHASES) for order in whole)


def test_a_robot_with_two_arms_is_asked_about_the_one_that_works(shared_data):
    dataset = RobotDataset.open(shared_data / "g1_bottle")
    settings = BridgeSettings((str(dataset.path),))
    chosen = choose_questions(dataset, {}, settings, np.random.default_rng(0))
    answers = answers_of(chosen["train"])
    assert "the right arm moved" in answers["change"] and "task" not in answers
    assert not any("left" in answer for answer in answers["change"])
    assert set(answers["gripper"]) == {"it closes", "it opens", "it stays"}
