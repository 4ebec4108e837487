"""From a dataset to episodes in a layout: which mapping is found, and what it makes of the data."""

from __future__ import annotations

import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.spatial.transform import Rotation

from rvq_action import WALL_26, DeltaRule
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.mapping import Mapping
from rvq_action.data.resolve import packaged_mappings, resolve_mapping
from tests.synthetic import columns, write_v3, write_v21

MAPPING = """
embodiment: tabletop
layout:
  name: tabletop
  groups:
    arm/position: {channels: [x, y], unit: m, delta: subtract}
    arm/gripper: {channels: [gripper], unit: gripper, delta: raw}
action:
  arm/position: {feature: action, take: [x, y], unit: cm}
  arm/gripper: {feature: action, take: [gripper], closed: -1, open: 1}
proprio:
  arm/position: {feature: observation.state, take: [x, y], unit: cm}
"""


def spoil(path, value: float, feature: str = "action", row: int = 4) -> None:
    """Put a value into the first channel of a row of the first data file."""
    file = sorted((path / "data").rglob("*.parquet"))[0]
    table = pq.read_table(file)
    values = table[feature].combine_chunks().flatten().to_numpy().copy()
    values[3 * row] = value
    column = pa.FixedSizeListArray.from_arrays(values, 3)
    position = table.column_names.index(feature)
    pq.write_table(table.set_column(position, table.field(position), column), file)


def test_without_a_mapping_actions_are_joints_relative_to_the_state(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        dataset = RobotDataset.open(write_v3(tmp_path / "set"))
    assert "no mapping fits robot type 'test_arm'" in caplog.text
    assert (dataset.embodiment, dataset.name, dataset.fps) == ("test_arm", "set", 10)
    assert dataset.layout.names == ("x", "y", "gripper") and dataset.layout.needs_anchor
    assert dataset.episodes is dataset.episodes
    for index, episode in enumerate(dataset.episodes):
        expected = columns(len(episode), index)
        np.testing.assert_array_equal(episode.actions, expected["action"])
        np.testing.assert_array_equal(episode.proprio, expected["observation.state"])
        assert episode.mask.all() and episode.proprio_mask.all() and episode.index == index
    assert [e.task for e in dataset.episodes] == ["go", "stop", "go"]


def test_a_state_of_other_channels_is_no_anchor(tmp_path):
    path = write_v21(tmp_path / "set")
    file = path / "meta/info.json"
    info = json.loads(file.read_text())
    info["features"]["observation.state"]["names"] = ["q0", "q1", "q2"]
    file.write_text(json.dumps(info | {"robot_type": None}))
    dataset = RobotDataset.open(path)
    assert dataset.embodiment == "set"
    assert {c.delta for c in dataset.layout.channels} == {DeltaRule.RAW}
    assert not dataset.episodes[0].proprio_mask.any() and not dataset.episodes[0].proprio.any()


def test_a_mapping_in_the_dataset_is_used_and_an_explicit_one_wins(tmp_path):
    path = write_v3(tmp_path / "set")
    (path / "meta/rvq_mapping.yaml").write_text(MAPPING)
    dataset = RobotDataset.open(path)
    assert dataset.embodiment == "tabletop"
    source = columns(30)["action"]
    episode = dataset.episodes[0]
    np.testing.assert_allclose(episode.actions[:, :2], source[:, :2] / 100, rtol=1e-6)
    np.testing.assert_allclose(episode.actions[:, 2], (source[:, 2] + 1) / 2, atol=1e-6)
    assert episode.mask.tolist() == [True] * 3
    assert episode.proprio_mask.tolist() == [True, True, False]
    other = tmp_path / "other.yaml"
    other.write_text(MAPPING.replace("embodiment: tabletop", "embodiment: other"))
    assert RobotDataset.open(path, other).embodiment == "other"
    assert RobotDataset.open(path, Mapping.from_yaml(other)).embodiment == "other"


def test_placeholder_tasks_are_empty(tmp_path):
    path = write_v3(tmp_path / "set", (12, 12, 12), ("<unlabelled>", "TODO ", "go"))
    assert [e.task for e in RobotDataset.open(path).episodes] == ["", "", "go"]


def test_mappings_that_do_not_exist_or_do_not_fit_are_named(tmp_path):
    path = write_v3(tmp_path / "set")
    with pytest.raises(ValueError, match=r"called 'so102'; there are \['cr5', 'droid_franka'"):
        RobotDataset.open(path, "so102")
    with pytest.raises(FileNotFoundError, match=r"no mapping file .*none\.yaml"):
        RobotDataset.open(path, tmp_path / "none.yaml")
    file = tmp_path / "own.yaml"
    file.write_text(MAPPING.replace("feature: action", "feature: command"))
    with pytest.raises(ValueError, match=r"reads \['command'\], which .*set does not have"):
        RobotDataset.open(path, file)
    with pytest.raises(ValueError, match="no number .*shoulder_pan.pos"):
        RobotDataset.open(path, "so101")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("feature", ["action", "observation.state"])
def test_nan_and_inf_name_the_episode_the_frame_and_the_channel(tmp_path, value, feature):
    path = write_v3(tmp_path / "set")
    spoil(path, value, feature)
    with pytest.raises(
        ValueError, match=rf"set, episode 0: frame 4, feature '{feature}', channel 'x' is {value}"
    ):
        _ = RobotDataset.open(path).episodes


def test_packaged_mappings_round_trip():
    for name, file in packaged_mappings().items():
        mapping = Mapping.from_yaml(file)
        assert Mapping.from_dict(json.loads(json.dumps(mapping.to_dict()))) == mapping, name


REAL = {
    "so101_pick_tape": ("so101", 6),
    "g1_bottle": ("g1", 26),
    "cr5_banana": ("cr5", 7),
    "droid_franka": ("droid_franka", 10),
}


@pytest.mark.parametrize("name", REAL)
def test_real_recordings_find_their_mapping(shared_data, name):
    embodiment, channels = REAL[name]
    dataset = RobotDataset.open(shared_data / name)
    assert dataset.embodiment == embodiment
    for episode in dataset.episodes:
        assert episode.mask.sum() == channels and episode.proprio_mask.any()
        assert not episode.actions[:, ~episode.mask].any()
        assert len(episode.proprio) == len(episode.actions) and np.isfinite(episode.actions).all()
    grippers = [i for i, c in enumerate(dataset.layout.channels) if c.unit == "gripper"]
    opening = np.concatenate([e.actions[:, grippers] for e in dataset.episodes])
    assert opening.min() >= 0 and opening.max() <= 1


def test_what_is_written_back_is_what_was_read(shared_data):
    for name in REAL:
        dataset = RobotDataset.open(shared_data / name)
        written = dataset.mapping.write_actions(
            dataset.episodes[3].actions, dataset.reader.channel_names
        )
        source = dataset.reader.episode(3)["action"]
        if name == "droid_franka":
            turn = Rotation.from_euler("xyz", source[:, 3:6]).inv()
            assert (
                turn * Rotation.from_euler("xyz", written["action"][:, 3:6])
            ).magnitude().max() < 1e-5
            source[:, 3:6] = written["action"][:, 3:6]
        np.testing.assert_allclose(written["action"], source, atol=1e-5)


def test_droid_is_the_right_arm_with_a_rotation_that_does_not_wrap(shared_data):
    dataset = RobotDataset.open(shared_data / "droid_franka")
    block = WALL_26.groups["right_arm/rotation"]
    for index, episode in enumerate(dataset.episodes):
        source = dataset.reader.episode(index)
        turn = Rotation.from_euler("xyz", source["action"][:, 3:6]).as_matrix()
        expected = np.concatenate((turn[:, :, 0], turn[:, :, 1]), axis=-1)
        np.testing.assert_allclose(episode.actions[:, block], expected, atol=1e-6)
        assert np.abs(np.diff(episode.proprio[:, block], axis=0)).max() < 0.2
        np.testing.assert_array_equal(
            episode.proprio[:, 10:13], source["observation.state"][:, 7:10]
        )
        np.testing.assert_allclose(episode.actions[:, 19], 1 - source["action"][:, 6], atol=1e-6)
    assert dataset.episodes[0].task == "" and dataset.episodes[1].task.startswith("Put the blue")


def test_a_known_robot_with_other_channels_gets_no_packaged_mapping(tmp_path):
    path = write_v3(tmp_path / "set")
    file = path / "meta/info.json"
    info = json.loads(file.read_text()) | {"robot_type": "so101_follower"}
    file.write_text(json.dumps(info))
    assert resolve_mapping(LeRobotReader(path)).layout.name == "joint_space_3"
