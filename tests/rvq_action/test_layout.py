"""Layouts are data: strict, and the same after a round trip."""

from __future__ import annotations

import pytest

from rvq_action import WALL_26, ActionLayout, Channel, DeltaRule, joint_space

ROTATION = tuple(Channel(f"r{i}", "rot6d", "arm/rotation", DeltaRule.SO3) for i in range(6))
POSITION = tuple(Channel(a, "m", "arm/position", DeltaRule.SE3) for a in "xyz")


def test_the_wall_layout():
    assert WALL_26.width == 26
    assert WALL_26.rotation_blocks == [list(range(3, 9)), list(range(13, 19))]
    assert [len(ix) for ix in WALL_26.groups.values()] == [3, 6, 1, 3, 6, 1, 2, 1, 1, 2]
    assert WALL_26.channels[WALL_26.index("right_gripper")].delta is DeltaRule.RAW
    assert WALL_26.needs_anchor


@pytest.mark.parametrize("layout", [WALL_26, joint_space(7), joint_space(1, ["a"], delta="raw")])
def test_a_layout_makes_the_round_trip(layout):
    assert ActionLayout.from_dict(layout.to_dict()) == layout
    assert hash(ActionLayout.from_dict(layout.to_dict())) == hash(layout)


def test_what_channels_are_relative_to():
    assert joint_space(2).origins == {0: [0], 1: [1]}
    assert not joint_space(2, delta="raw").needs_anchor
    origins = ActionLayout("arm", (*POSITION, *ROTATION)).origins
    assert origins[1] == [1, 3, 4, 5, 6, 7, 8] and origins[5] == [5]


@pytest.mark.parametrize(
    ("channels", "match"),
    [
        ((), "no channels"),
        ((*POSITION, *POSITION, *ROTATION), r"twice: \['x', 'y', 'z'\]"),
        (ROTATION[:5], "exactly six consecutive"),
        ((ROTATION[0], POSITION[0], *ROTATION[1:]), "exactly six consecutive"),
        (POSITION, "no 6-D rotation"),
    ],
)
def test_a_layout_that_is_none(channels, match):
    with pytest.raises(ValueError, match=match):
        ActionLayout("broken", channels)


def test_names_must_be_as_many_as_joints():
    with pytest.raises(ValueError, match="3 joints need 3 names, got 2"):
        joint_space(3, ["a", "b"])


def test_an_unknown_channel_is_named():
    with pytest.raises(KeyError, match="no channel 'tail'"):
        WALL_26.index("tail")
