"""Rows at hand become what encode takes, and what decode returns becomes commands."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rvq_action.data.dataset import RobotDataset
from rvq_action.data.mapping import Mapping
from rvq_action.data.resolve import load_mapping
from rvq_action.data.rows import RowMapping
from tests.rvq_action.robots import ARM, arm_chunk, embodiment_of, fit
from tests.synthetic import write_v3

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
NAMES = tuple(f"{joint}.pos" for joint in JOINTS)
ROW = [10.0, -20.0, 30.0, -40.0, 50.0, 75.0]
READ = [10.0, -20.0, 30.0, -40.0, 50.0, 0.75]


@pytest.fixture(scope="module")
def so101() -> RowMapping:
    return RowMapping(load_mapping("so101").with_columns(lambda feature: NAMES))


@pytest.mark.parametrize(
    "rows",
    [
        np.array(ROW),
        torch.tensor(ROW),
        ROW,
        {"action": np.array(ROW), "timestamp": 3.0},
        {**dict(zip(NAMES, ROW, strict=True)), "front": "a picture"},
    ],
)
def test_a_row_may_have_any_form(so101, rows):
    np.testing.assert_allclose(so101.read_actions(rows), READ, rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (5,), (2, 5), (0, 5)])
def test_leading_axes_stay(so101, shape):
    rows = np.broadcast_to(np.array(ROW), (*shape, 6))
    actions = so101.read_actions(rows)
    assert actions.shape == (*shape, 6) and actions.dtype == np.float32
    back = so101.write_actions(actions)
    assert back.keys() == {"action"} and back["action"].shape == (*shape, 6)
    np.testing.assert_allclose(back["action"], rows, rtol=1e-6)
    by_name = {name: rows[..., i] for i, name in enumerate(NAMES)}
    np.testing.assert_array_equal(so101.read_actions(by_name), actions)


def test_the_state_is_nan_where_nothing_is_mapped():
    mapping = load_mapping("cr5").with_columns(lambda f: [f"joint_{i}" for i in range(6)])
    state = RowMapping(mapping).read_proprio(np.arange(6.0))
    np.testing.assert_array_equal(state, [0, 1, 2, 3, 4, 5, np.nan])


def test_numbers_that_nothing_reads_may_be_left_out():
    names = ("joint_0", "x", "y", "z", "roll", "pitch", "yaw", "gripper")
    droid = RowMapping(load_mapping("droid_franka").with_columns(lambda feature: names))
    pose = {name: np.full(2, 0.1 * i) for i, name in enumerate(names) if name != "joint_0"}
    assert droid.read_proprio(pose).shape == (2, 26)
    written = droid.write_actions(droid.read_actions(pose))["action"]
    np.testing.assert_allclose(written[:, 1:], [np.arange(1, 8) * 0.1] * 2, rtol=1e-5)
    assert np.isnan(written[:, 0]).all() and droid.unwritten == ["joint_0"]


def test_a_mapping_that_writes_every_number_leaves_none_out(so101):
    assert so101.unwritten == []


def test_a_tokenizer_carries_the_way_from_its_dataset_to_codes_and_back(tmp_path):
    dataset = RobotDataset.open(write_v3(tmp_path / "data"))
    assert dataset.mapping.columns == {
        "action": ("x", "y", "gripper"),
        "observation.state": ("x", "y", "gripper"),
    }
    again = Mapping.from_dict(dataset.mapping.to_dict())
    assert again == dataset.mapping and again.columns == dataset.mapping.columns
    episode, columns = dataset.episodes[0], dataset.reader.episode(0)
    rows = RowMapping(again)
    np.testing.assert_array_equal(rows.read_actions(columns), episode.actions)
    np.testing.assert_array_equal(rows.read_proprio(columns), episode.proprio)
    np.testing.assert_allclose(rows.write_actions(episode.actions)["action"], columns["action"])


def test_a_tokenizer_without_a_dataset_says_so():
    chunk = arm_chunk(256)
    tokenizer = fit({"arm": (ARM, chunk)})
    with pytest.raises(ValueError, match="'arm' stores no mapping: .* units of its layout"):
        tokenizer.mapping()
    with pytest.raises(KeyError, match="Unknown embodiment 'leg'"):
        tokenizer.mapping("leg")
    assert embodiment_of(ARM, chunk).mapping is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((4, 5)), r"'action' have 6 numbers \(shoulder_pan.pos, .*got \[4, 5\]"),
        (np.float32(3), r"6 numbers.*got \[\]"),
        ({"shoulder_pan.pos": 1.0}, r"numbers by name; .*'gripper.pos'\] are missing"),
        (np.full(6, np.nan), "channel 'shoulder_pan.pos' is nan"),
    ],
)
def test_rows_that_do_not_fit_are_named(so101, rows, message):
    with pytest.raises(ValueError, match=message):
        so101.read_actions(rows)


def test_what_cannot_be_converted_is_named(so101):
    with pytest.raises(ValueError, match=r"must be \[..., 6\], got \[3, 7\]"):
        so101.write_actions(np.zeros((3, 7)))
    with pytest.raises(ValueError, match="does not say in which order .*`columns`"):
        RowMapping(load_mapping("so101")).read_actions(np.array(ROW))
    group = {"channels": ["speed"], "unit": "m/s", "delta": "raw"}
    cart = {
        "embodiment": "cart",
        "layout": {"name": "cart", "groups": {"base/velocity": group}},
        "action": {"base/velocity": {"feature": "action", "take": [0]}},
    }
    with pytest.raises(ValueError, match="reads no state.* without proprio"):
        RowMapping(Mapping.from_dict(cart)).read_proprio(np.zeros(1))


def test_features_of_different_length_are_named():
    names = {"arm": ("a",), "hand": ("b",)}
    group = {"unit": "rad", "delta": "raw"}
    two = {
        "embodiment": "two",
        "layout": {
            "name": "two",
            "groups": {
                "arm/angle": {"channels": ["a"], **group},
                "hand/angle": {"channels": ["b"], **group},
            },
        },
        "action": {"arm/angle": {"feature": "arm"}, "hand/angle": {"feature": "hand"}},
    }
    rows = RowMapping(Mapping.from_dict(two).with_columns(names.__getitem__))
    np.testing.assert_array_equal(rows.read_actions({"a": 1.0, "b": 2.0}), [1, 2])
    with pytest.raises(ValueError, match="differ in number"):
        rows.read_actions({"arm": np.zeros((3, 1)), "hand": np.zeros((4, 1))})
    with pytest.raises(ValueError, match="Several features are read"):
        rows.read_actions(np.zeros(2))
    alike = RowMapping(rows.mapping.with_columns(lambda feature: ("angle",)))
    with pytest.raises(ValueError, match=r"repeat: give arrays by feature, \['arm', 'hand'\]"):
        alike.read_actions({"angle": 1.0})
    np.testing.assert_array_equal(alike.read_actions({"arm": [1.0], "hand": [2.0]}), [1, 2])
