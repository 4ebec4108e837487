"""Percent or degrees: what the numbers of an SO-101 tell, and which mapping is taken for it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from rvq_action.data.check import Status, check_dataset
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.resolve import OWN_FILE, load_mapping, packaged_choice
from rvq_action.data.writer import LeRobotWriter

MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
NAMES = [f"{motor}.pos" for motor in MOTORS]
TURN = 4095
RANGES = np.array([[812, 3190], [901, 3248], [890, 3101], [1003, 3240], [7, 4088], [2010, 3500]])
"""Least and largest count of each motor's encoder; the middle of some lies on half a step."""


def counts(share: float, frames: int = 60, seed: int = 0) -> np.ndarray:
    """[frames, 6] of an arm that uses this share of its range."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6, 6) + np.linspace(0, 7, frames)[:, None] * rng.uniform(0.8, 1.2, 6)
    low, high = RANGES.T
    return np.round((low + high) / 2 + share * (high - low) / 2 * np.sin(phase))


def in_percent(count: np.ndarray) -> np.ndarray:
    """As LeRobot counts with `use_degrees: false`."""
    low, high = RANGES.T
    bounded = count.clip(low, high)
    percent = (bounded - low) / (high - low) * 200 - 100
    percent[:, 5] = (percent[:, 5] + 100) / 2
    return percent.astype(np.float32)


def in_degrees(count: np.ndarray) -> np.ndarray:
    """As LeRobot counts with `use_degrees: true`; the gripper in percent all the same."""
    degrees = (count - RANGES.mean(1)) * 360 / TURN
    degrees[:, 5] = in_percent(count)[:, 5]
    return degrees.astype(np.float32)


def write(path: Path, state, action=None, robot: str = "so_follower") -> Path:
    """A dataset of one arm; three episodes."""
    features = {"action": NAMES, "observation.state": NAMES}
    with LeRobotWriter(path, 30, features, robot) as writer:
        for _ in range(3):
            columns = {"action": state if action is None else action, "observation.state": state}
            writer.add_episode(columns, task="pick")
    return path


def row(path: Path, name: str, mapping: str | None = None):
    return {finding.name: finding for finding in check_dataset(path, mapping)}.get(name)


@pytest.mark.parametrize("robot", ["so_follower", "so101_follower", "so100_follower", "SO101"])
def test_joints_beyond_what_percent_reaches_are_in_degrees(tmp_path, robot, caplog):
    state = in_degrees(counts(1.0))
    path = write(tmp_path / "set", state, robot=robot)
    with caplog.at_level(logging.INFO):
        dataset = RobotDataset.open(path)
    assert dataset.embodiment == "so101_degrees" and "mapping so101_degrees: " in caplog.text
    episode = dataset.episodes[0]
    np.testing.assert_array_equal(episode.actions[:, :5], state[:, :5])
    np.testing.assert_allclose(episode.actions[:, 5], state[:, 5] / 100, rtol=1e-5, atol=1e-7)
    written = dataset.mapping.write_actions(episode.actions, dataset.reader.channel_names)
    np.testing.assert_allclose(written["action"], state, atol=1e-4)
    found = row(path, "mapping: choice")
    assert found.status is Status.PASS and "wrist_roll.pos reaches" in found.message
    assert row(path, "mapping: joints") is None


def test_joints_that_stay_small_are_known_by_the_steps_of_their_encoders(tmp_path):
    state = in_degrees(counts(0.4))
    assert np.abs(state[:, :5]).max() < 100
    path = write(tmp_path / "set", state)
    assert RobotDataset.open(path).embodiment == "so101_degrees"
    assert "encoders' steps in degrees" in row(path, "mapping: choice").message
    wrong = row(path, "mapping: joints", "so101")
    assert wrong.status is Status.WARN and "--mapping so101_degrees" in wrong.fix


@pytest.mark.parametrize("seed", range(5))
def test_percent_is_known_by_where_it_is_cut_off(tmp_path, seed, caplog):
    state = in_percent(counts(0.7, seed=seed))
    path = write(tmp_path / "set", state, in_percent(counts(1.02, seed=seed)))
    with caplog.at_level(logging.WARNING):
        assert RobotDataset.open(path).embodiment == "so101"
    assert not caplog.records
    found = row(path, "mapping: choice")
    assert found.status is Status.PASS and "ends at exactly" in found.message
    assert row(path, "mapping: joints").status is Status.PASS


@pytest.mark.parametrize("smoothed", [in_percent, in_degrees])
def test_where_nothing_tells_it_is_percent_and_check_names_the_flag(tmp_path, smoothed, caplog):
    """Numbers that were filtered lie on no step of an encoder."""
    state = smoothed(counts(0.3)) * np.float32(0.987)
    path = write(tmp_path / "set", state)
    with caplog.at_level(logging.WARNING):
        assert RobotDataset.open(path).embodiment == "so101"
    assert "Nothing tells whether it was recorded in degrees" in caplog.text
    found = row(path, "mapping: choice")
    assert found.status is Status.WARN and "`--mapping so101_degrees`" in found.fix
    assert row(path, "mapping: choice", "so101_degrees").status is Status.PASS
    (path / OWN_FILE).write_text(json.dumps(load_mapping("so101_degrees").to_dict()))
    assert RobotDataset.open(path).embodiment == "so101_degrees"
    assert row(path, "mapping: choice").status is Status.PASS


def test_whole_numbers_tell_nothing(tmp_path):
    """They lie on steps of degrees when they are multiples of four, and on those of anything."""
    state = np.tile(np.array([-80.0, 40, 60, -20, 4, 50], np.float32), (60, 1))
    state[30:] *= 0.5
    assert packaged_choice(LeRobotReader(write(tmp_path / "set", state))).others


def test_without_stored_statistics_the_rows_tell(tmp_path):
    path = write(tmp_path / "set", in_degrees(counts(1.0)))
    (path / "meta/stats.json").unlink()
    assert RobotDataset.open(path).embodiment == "so101_degrees"


def test_commands_beyond_percent_prove_nothing_but_are_named(tmp_path):
    """A policy may ask for more than there is; what is measured is cut off."""
    state = in_percent(counts(1.02))
    path = write(tmp_path / "set", state, state * np.float32(1.04))
    assert RobotDataset.open(path).embodiment == "so101"
    found = row(path, "mapping: joints")
    assert found.status is Status.WARN and "reaches" in found.message
    assert "--mapping so101_degrees" in found.fix and "policy" in found.fix


def test_the_shared_recording_is_known_to_be_in_percent(shared_data):
    choice = packaged_choice(LeRobotReader(shared_data / "so101_pick_tape"))
    assert choice.name == "so101" and "ends at exactly" in choice.why and not choice.others
