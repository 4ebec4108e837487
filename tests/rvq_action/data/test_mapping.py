"""Mappings: every conversion against scipy and back, and strictness about what is written."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch
import yaml
from scipy.spatial.transform import Rotation

from rvq_action import WALL_26, DeltaRule
from rvq_action.data import mapping as mapping_module
from rvq_action.data.layout_schema import layout_from_data
from rvq_action.data.mapping import Mapping
from rvq_action.rotation import matrix_to_rot6d

POSE = ["x", "y", "z", "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "grip"]
ROTATIONS = {
    "euler_xyz": lambda r: r.as_euler("xyz"),
    "euler_ZYX": lambda r: r.as_euler("ZYX"),
    "quaternion_xyzw": lambda r: r.as_quat(canonical=True),
    "quaternion_wxyz": lambda r: r.as_quat(canonical=True, scalar_first=True),
    "axis_angle": lambda r: r.as_rotvec(),
    "matrix": lambda r: r.as_matrix().reshape(-1, 9),
    "rot6d": lambda r: r.as_matrix()[:, :, :2].swapaxes(1, 2).reshape(-1, 6),
    "rot6d_rows": lambda r: r.as_matrix()[:, :2].reshape(-1, 6),
}


def names(feature: str) -> tuple[str, ...]:
    return tuple(POSE)


def poses(count: int = 50) -> tuple[np.ndarray, Rotation]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 3)), Rotation.random(count, rng=rng)


def arm(**changes) -> dict:
    """A mapping of one arm's pose and gripper into the Wall layout; `changes` go to `action`."""
    rotation = {"feature": "pose", "take": ["r0", "r1", "r2"], "rotation": "euler_xyz"}
    terms = {
        "right_arm/position": {"feature": "pose", "take": ["x", "y", "z"]},
        "right_arm/rotation": rotation,
        "right_arm/gripper": {"feature": "pose", "take": ["grip"]},
    }
    action = {key: term | changes.get(key, {}) for key, term in terms.items()}
    return {
        "embodiment": "arm",
        "layout": "wall_26",
        "action": action,
        "proprio": copy.deepcopy(action),
    }


def row(position=0.0, rotation=0.0, gripper=0.0, count: int = 50) -> np.ndarray:
    """[N, 13] source values in the order of POSE."""
    values = np.zeros((count, len(POSE)))
    values[:, :3] = position
    width = np.shape(rotation)[-1] if np.ndim(rotation) else 0
    values[:, 3 : 3 + width] = rotation
    values[:, -1] = gripper
    return values.astype(np.float64)


def expected_rot6d(rotation: Rotation) -> np.ndarray:
    return matrix_to_rot6d(torch.from_numpy(rotation.as_matrix())).numpy()


@pytest.mark.parametrize("form", ROTATIONS)
def test_every_rotation_form_becomes_6d_and_back(form):
    position, rotation = poses()
    written = ROTATIONS[form](rotation)
    take = [f"r{i}" for i in range(written.shape[1])]
    change = {"take": take, "rotation": form}
    mapping = Mapping.from_dict(arm(**{"right_arm/rotation": change}))
    columns = {"pose": row(position, written, 1.0)}
    actions, mask = mapping.read_actions(columns, names)
    block = WALL_26.groups["right_arm/rotation"]
    np.testing.assert_allclose(actions[:, block], expected_rot6d(rotation), atol=1e-6)
    assert mask.tolist() == [10 <= i < 20 for i in range(26)] and not actions[:, ~mask].any()
    back = mapping.write_actions(actions, names)["pose"]
    np.testing.assert_allclose(back[:, 3 : 3 + len(take)], written, atol=1e-5)
    np.testing.assert_allclose(back[:, :3], position, atol=1e-6)
    assert np.isnan(back[:, 3 + len(take) : -1]).all()


def test_units_and_scales_are_converted_both_ways():
    position, rotation = poses()
    degrees = np.degrees(rotation.as_euler("xyz"))
    changes = {
        "right_arm/position": {"unit": "mm", "scale": [1, -1, 1]},
        "right_arm/rotation": {"unit": "deg"},
        "right_arm/gripper": {"scale": 0.01},
    }
    mapping = Mapping.from_dict(arm(**changes))
    columns = {"pose": row(position, degrees, 40.0)}
    actions, _ = mapping.read_actions(columns, names)
    np.testing.assert_allclose(actions[:, 10:13], position * [1e-3, -1e-3, 1e-3], rtol=1e-5)
    np.testing.assert_allclose(actions[:, 13:19], expected_rot6d(rotation), atol=1e-6)
    np.testing.assert_allclose(actions[:, 19], 0.4, rtol=1e-6)
    back = mapping.write_actions(actions, names)["pose"]
    np.testing.assert_allclose(back[:, :6], columns["pose"][:, :6], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(back[:, -1], 40.0, rtol=1e-6)


@pytest.mark.parametrize(("closed", "open_"), [(1, 0), (0, 100), (-20, 60), (0.08, 0.0)])
def test_grippers_become_0_closed_and_1_open(closed, open_):
    gripper = {"right_arm/gripper": {"closed": closed, "open": open_}}
    mapping = Mapping.from_dict(arm(**gripper))
    source = np.linspace(closed, open_, 50)
    actions, _ = mapping.read_actions({"pose": row(gripper=source)}, names)
    np.testing.assert_allclose(actions[:, 19], np.linspace(0, 1, 50), atol=1e-6)
    back = mapping.write_actions(actions, names)["pose"]
    np.testing.assert_allclose(back[:, -1], source, rtol=1e-5, atol=1e-5)


def homogeneous(translation, rotation: Rotation) -> np.ndarray:
    matrix = np.tile(np.eye(4), (*np.shape(rotation.as_matrix())[:-2], 1, 1))
    matrix[..., :3, :3], matrix[..., :3, 3] = rotation.as_matrix(), translation
    return matrix


def test_base_frame_and_tool_offset_compose_like_homogeneous_matrices():
    position, rotation = poses()
    base = {
        "translation": [0.1, -0.2, 0.3],
        "rotation": {"euler_xyz": [10, -20, 90], "unit": "deg"},
    }
    tool = {"translation": [0, 0, 0.15], "rotation": {"quaternion_xyzw": [0, 0.6, 0, 0.8]}}
    data = arm() | {"frames": {"right_arm": {"base": base, "tool": tool}}}
    mapping = Mapping.from_dict(data)
    assert Mapping.from_dict(mapping.to_dict()) == mapping
    columns = {"pose": row(position, rotation.as_euler("xyz"), 1.0)}
    for read in (mapping.read_actions, mapping.read_proprio):
        values, _ = read(columns, names)
        expected = (
            homogeneous([0.1, -0.2, 0.3], Rotation.from_euler("xyz", [10, -20, 90], degrees=True))
            @ homogeneous(position, rotation)
            @ homogeneous([0, 0, 0.15], Rotation.from_quat([0, 0.6, 0, 0.8]))
        )
        np.testing.assert_allclose(values[:, 10:13], expected[:, :3, 3], atol=1e-6)
        turned = Rotation.from_matrix(expected[:, :3, :3])
        np.testing.assert_allclose(values[:, 13:19], expected_rot6d(turned), atol=1e-6)
    back = mapping.write_actions(values, names)["pose"]
    np.testing.assert_allclose(back[:, :6], columns["pose"][:, :6], atol=1e-5)


def test_a_term_may_fill_one_channel_or_take_by_position():
    data = {
        "embodiment": "cart",
        "layout": "wall_26",
        "action": {
            "base_vx": {"feature": "pose", "take": ["y"]},
            "lift/height": {"feature": "pose", "take": [2], "unit": "cm"},
        },
    }
    values, mask = Mapping.from_dict(data).read_actions({"pose": row([1, 2, 3])}, names)
    assert mask.nonzero()[0].tolist() == [WALL_26.index("base_vx"), WALL_26.index("lift")]
    np.testing.assert_allclose(values[0, mask], [2, 0.03], rtol=1e-6)


def test_nan_and_inf_name_frame_feature_and_channel():
    mapping = Mapping.from_dict(arm())
    for bad in (np.nan, np.inf):
        values = row()
        values[7, 1] = bad
        with pytest.raises(ValueError, match=rf"frame 7, feature 'pose', channel 'y' is {bad}"):
            mapping.read_actions({"pose": values}, names)


def edited(path: str, value) -> dict:
    """`arm()` with the entry at a path (keys joined by spaces) replaced, or added."""
    data = arm()
    *parents, last = path.split()
    place = data
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return data


MISTAKES = {
    "colour": ("blue", r"unknown keys \['colour'\]. Known keys are \['embodiment'"),
    "action right_arm/gripper clozed": (1, r"right_arm/gripper has unknown keys \['clozed'\]"),
    "action third_arm/position": ({"feature": "pose"}, "neither group nor channel 'third_arm"),
    "action right_x": ({"feature": "pose", "take": ["x"]}, "'right_x' is filled twice"),
    "action right_arm/position unit": ("feet", "'feet' cannot be converted to 'm'"),
    "action right_arm/position rotation": ("matrix", "`rotation` must be given for a 6-D"),
    "action right_arm/rotation rotation": ("euler_xx", "'xx' is no order of Euler angles"),
    "action right_arm/position take": (
        "xyz",
        "take must be a list of names or positions, got 'xyz'",
    ),
    "action right_arm/gripper closed": (1, "takes two different values"),
    "action right_arm/gripper open": (1, "takes two different values"),
    "action right_arm/position scale": ([1, 0, 1], "scale must not be 0"),
    "action right_arm/gripper feature": (3, "feature must be a text, got 3"),
    "action right_arm/rotation closed": (1, "other channels take none"),
    "action right_arm/gripper scale": ("big", "must be a list of numbers"),
    "action": ({}, "`action` is empty"),
    "embodiment": ("", "`embodiment` must be a name"),
    "columns": ({"pose": "xyz"}, "columns.pose must be a list of texts, got 'xyz'"),
    "layout": ("wall_27", "no layout is called 'wall_27'"),
    "proprio": ({}, "'right_x', .* are relative to the proprio anchor"),
    "frames right_arm handle": ({}, r"frames.right_arm has unknown keys \['handle'\]"),
    "frames right_arm tool": ({"translation": [1]}, "must have 3 numbers, got 1"),
    "frames left_arm": ({}, r"\['left_arm'\], but `action` fills no pose"),
    "frames head": ({}, "no pose .* of part 'head'"),
}


def with_position_alone(**more: dict) -> dict:
    """An arm whose state says where its tool is, but not how that is turned."""
    rotation = {"feature": "pose", "take": ["r0", "r1", "r2"], "rotation": "euler_xyz"}
    position = {"feature": "pose", "take": ["x", "y", "z"]}
    groups = {
        "tool/position": {"channels": ["x", "y", "z"], "unit": "m", "delta": "subtract"},
        "tool/rotation": {
            "channels": [f"r{i}" for i in range(6)],
            "unit": "rot6d",
            "delta": "raw",
        },
    }
    return {
        "embodiment": "arm",
        "layout": {"name": "tool", "groups": groups},
        "action": {"tool/position": position, "tool/rotation": rotation},
        "proprio": {"tool/position": position, **more},
    }


def test_a_state_that_would_stay_in_another_frame_than_the_action_is_refused():
    base = {"translation": [1.0, 0, 0], "rotation": {"euler_xyz": [0, 0, 90], "unit": "deg"}}
    frames = {"frames": {"tool": {"base": base}}}
    assert Mapping.from_dict(with_position_alone()).proprio
    with pytest.raises(ValueError, match=r"\['tool'\], but `proprio` fills only a part"):
        Mapping.from_dict(with_position_alone() | frames)
    rotation = with_position_alone()["action"]["tool/rotation"]
    whole = Mapping.from_dict(with_position_alone(**{"tool/rotation": rotation}) | frames)
    rows = {"pose": row(position=poses()[0])}
    action, proprio = whole.read_actions(rows, names), whole.read_proprio(rows, names)
    np.testing.assert_array_equal(action.values, proprio.values)


def test_frames_leave_what_is_no_pose_alone():
    """A state that knows the gripper alone is in no frame."""
    data = with_position_alone()
    data["layout"]["groups"]["tool/gripper"] = {
        "channels": ["grip"],
        "unit": "gripper",
        "delta": "subtract",
    }
    data["layout"]["groups"]["tool/position"]["delta"] = "raw"
    grip = {"tool/gripper": {"feature": "pose", "take": ["grip"]}}
    data |= {"action": data["action"] | grip, "proprio": grip, "frames": {"tool": {"base": {}}}}
    assert Mapping.from_dict(data).read_proprio({"pose": row()}, names).mask.sum() == 1


@pytest.mark.parametrize("path", MISTAKES)
def test_mistakes_are_named_with_their_place(path):
    value, message = MISTAKES[path]
    with pytest.raises(ValueError, match=rf"^arm\.yaml.*{message}"):
        Mapping.from_dict(edited(path, value), "arm.yaml")


def test_a_layout_of_ones_own_round_trips_and_is_strict():
    group = {"channels": ["a", "b"], "unit": "rad/s", "delta": "raw"}
    layout = {"name": "mine", "groups": {"arm/velocity": group}}
    data = {"embodiment": "mine", "layout": layout}
    data["action"] = {"arm/velocity": {"feature": "pose", "take": ["x", "y"], "unit": "deg/s"}}
    mapping = Mapping.from_dict(data)
    assert Mapping.from_dict(mapping.to_dict()) == mapping
    assert mapping.layout.groups == {"arm/velocity": [0, 1]} and not mapping.layout.needs_anchor
    layout["groups"]["arm/velocity"] = group | {"delta": "minus"}
    with pytest.raises(ValueError, match="delta 'minus' is no delta rule"):
        Mapping.from_dict(data)


def test_the_layout_in_the_description_is_one_and_what_is_missing_is_explained():
    first, second = re.findall(r"```yaml\n(.*?)```", mapping_module.__doc__, flags=re.DOTALL)
    layout = layout_from_data(yaml.safe_load(second)["layout"], "layout")
    assert {channel.delta for channel in layout.channels} == set(DeltaRule)
    assert yaml.safe_load(first)["layout"] == "wall_26"
    for lacking, message in (
        ({"embodiment": "a", "action": {}}, r"lacks the keys \['layout'\]. `layout`: wall_26, or"),
        (edited("layout", {"name": "mine"}), r"lacks .*`groups`: {part/quantity: {channels"),
        (
            edited("layout", {"name": "mine", "groups": {"arm/angle": {"channels": ["a"]}}}),
            r"layout.groups.arm/angle lacks .*`unit`: m, rad.*`delta`: one of subtract, so3",
        ),
        (edited("action right_arm/gripper", {}), "lacks .*`feature`: a feature of the dataset"),
    ):
        with pytest.raises(ValueError, match=message):
            Mapping.from_dict(lacking)


def test_wrong_numbers_of_values_are_named_when_reading():
    mapping = Mapping.from_dict(arm(**{"right_arm/position": {"take": ["x", "y"]}}))
    with pytest.raises(ValueError, match="'right_arm/position' needs 3 numbers.* gives 2"):
        mapping.read_actions({"pose": row()}, names)
    mapping = Mapping.from_dict(arm(**{"right_arm/position": {"take": ["x", "y", "depth"]}}))
    with pytest.raises(ValueError, match=r"'pose' has no number \['depth'\]; it has \['x'"):
        mapping.read_actions({"pose": row()}, names)


def test_a_rotation_of_zeros_is_refused():
    take = [f"r{i}" for i in range(4)]
    change = {"take": take, "rotation": "quaternion_xyzw"}
    mapping = Mapping.from_dict(arm(**{"right_arm/rotation": change}))
    values = row(0.0, np.full((50, 4), 0.5))
    values[9, 3:7] = 0
    with pytest.raises(ValueError, match="frame 9, .* 'right_arm/rotation' is all zeros"):
        mapping.read_actions({"pose": values}, names)


def test_broken_yaml_is_named(tmp_path):
    file = tmp_path / "broken.yaml"
    file.write_text("embodiment: [")
    with pytest.raises(ValueError, match=r"broken\.yaml is no valid YAML") as caught:
        Mapping.from_yaml(file)
    assert "\n" not in str(caught.value)
    file.write_text("embodiment: arm\nlayout: wall_26\n  action: {}\n")
    with pytest.raises(ValueError, match=r"mapping values are not allowed here in line 3\.$"):
        Mapping.from_yaml(file)
    file.write_text("- a list")
    with pytest.raises(ValueError, match=r"broken\.yaml must be a map with the keys"):
        Mapping.from_yaml(file)


def test_what_decides_is_places_and_not_names():
    mapping = Mapping.from_dict({**arm(), "robot_types": ["an_arm"]}).with_columns(names)
    decisive = mapping.decisive()
    assert decisive["action"]["right_arm/position"]["take"] == [0, 1, 2]

    renamed = copy.deepcopy(arm())
    for section in ("action", "proprio"):
        renamed[section]["right_arm/position"]["take"] = ["x", "y", "height"]
    called = tuple("height" if name == "z" else name for name in POSE)
    other = Mapping.from_dict(renamed).with_columns(lambda feature: called)
    assert other.decisive() == decisive

    swapped = mapping.with_columns(lambda feature: ("y", "x", *POSE[2:]))
    assert swapped.decisive() != decisive
    scaled = Mapping.from_dict(arm(**{"right_arm/position": {"unit": "mm"}})).with_columns(names)
    assert scaled.decisive() != decisive
