"""Limits as data, and what they refuse."""

from __future__ import annotations

import pytest

from rvq_action import WALL_26, joint_space
from tests.rvq_action.robots import ARM
from vla.deploy.safety.limit_table import LimitTable
from vla.deploy.safety.limits import ChannelLimits, Limits

HAND = {"channels": ["right_x", "right_y", "right_z"], "low": [0.0, -1, 0], "high": [1, 1.0, 1]}


def test_a_file_reads_back_as_it_was(tmp_path):
    (tmp_path / "limits.yaml").write_text(
        "on_violation: stop\n"
        "channels: {right_arm/position: {velocity: 0.5}, lift: {low: 0, high: 1},"
        " base_wz: {position: [-3, 3.0], lag: 0.2}}\n"
        "rotations: {right_arm: {velocity: 1.5}}\n"
        "workspace: [{channels: [right_x, right_y, right_z], low: [0, 0, 0],"
        " high: [1, 1, 1], lag: 0.1}]\n"
    )
    limits = Limits.from_yaml(tmp_path / "limits.yaml")
    assert limits.channels["lift"] == ChannelLimits(0.0, 1.0)
    assert limits.channels["base_wz"] == ChannelLimits(position=(-3.0, 3.0), lag=0.2)
    assert Limits.from_dict(limits.to_dict()) == limits and limits.on_violation == "stop"


def test_a_channel_wins_over_its_group_key_by_key_and_a_box_over_neither():
    group = {"velocity": 0.5, "acceleration": 4, "high": 0.7}
    channels = {"right_arm/position": group, "right_x": {"velocity": 0.1, "high": 0.9}}
    table = LimitTable.build(Limits.from_dict({"channels": channels, "workspace": [HAND]}), WALL_26)
    x, y = WALL_26.index("right_x"), WALL_26.index("right_y")
    assert (table.velocity[x], table.velocity[y]) == (0.1, 0.5)
    assert (table.acceleration[x], table.acceleration[y]) == (4, 4)
    assert (table.high[x], table.high[y], table.low[y]) == (0.9, 0.7, -1.0)


def test_a_channel_of_rates_has_its_own_place_and_the_lag_of_its_group():
    group = {"position": [-1, 1], "lag": 0.2, "velocity": 2}
    channels = {"base/linear_velocity": group, "base_vx": {"position": [-3, 3]}}
    reach = LimitTable.build(Limits.from_dict({"channels": channels}), WALL_26).reach
    x, y = WALL_26.index("base_vx"), WALL_26.index("base_vy")
    assert (reach.high[x], reach.high[y], reach.lag[x], reach.lag[y]) == (3, 1, 0.2, 0.2)


def test_slow_is_slower_in_every_derivative():
    limits = Limits({"base_vx": ChannelLimits(-1, 1, 2, 4), "lift": ChannelLimits(0, 1, 2, 4)})
    slow = LimitTable.build(limits, WALL_26).slowed(0.5)
    base, lift = WALL_26.index("base_vx"), WALL_26.index("lift")
    columns = slow.low, slow.high, slow.velocity, slow.acceleration
    assert [c[lift] for c in columns] == [0, 1, 1.0, 1.0]
    assert [c[base] for c in columns] == [-0.5, 0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="fraction of full speed"):
        slow.slowed(1.5)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"chanels": {}}, "unknown keys"),
        ({"channels": {"gripper": {"low": 1, "high": 0}}}, "low must lie below high"),
        ({"channels": {"gripper": {"velocity": 0}}}, "must be positive"),
        ({"channels": {"gripper": {"low": float("nan")}}}, "low must lie below high"),
        ({"channels": {"gripper": {"low": -1e13}}}, r"-1e\+13 is beyond 1e\+12. Leave out"),
        ({"channels": {"gripper": {"acceleration": 1e308}}}, r"1e\+308 is beyond"),
        ({"channels": {"gripper": {"acceleration": 1e-13}}}, "positive, 1e-12 or more; got"),
        ({"channels": {"base_wz": {"position": [0, 1e308]}}}, r"1e\+308 is beyond"),
        ({"rotations": {"right_arm": {"velocity": 1e308}}}, r"1e\+308 is beyond"),
        ({"workspace": [HAND | {"high": [1, 1e308, 1]}]}, r"1e\+308 is beyond"),
        ({"channels": {"base_wz": {"position": [1, 1]}}}, r"base_wz: position is \[lowest, hig"),
        ({"channels": {"base_wz": {"position": [0, float("inf")]}}}, r"position is \[lowest"),
        ({"channels": {"base_wz": {"position": 1}}}, "base_wz.position must be a list of numbers"),
        ({"channels": {"base_wz": {"lag": 0.1}}}, "lag goes with `position`"),
        ({"channels": {"base_wz": {"position": [0, 1], "lag": -1}}}, "lag is a time in seconds"),
        ({"rotations": {"right_arm": {"position": [0, 1]}}}, r"unknown keys \['position'\]"),
        ({"on_violation": "ignore"}, "on_violation is one of"),
        ({"workspace": [HAND | {"low": [2, 0, 0]}]}, "low below high"),
    ],
)
def test_what_is_no_limit_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        Limits.from_dict(data)


@pytest.mark.parametrize(
    ("data", "layout", "words"),
    [
        ({"channels": {"elbow": {"low": 0}}}, ARM, r"name \['elbow'\], which layout"),
        (
            {"channels": {"joints/position": {"position": [0, 1]}}},
            ARM,
            "'joint_0' is commanded in 'rad': bound it by `low` and `high`",
        ),
        (
            {"channels": {"joints/position": {"high": 1}, "joint_1": {"low": 2}}},
            ARM,
            "'joint_1', with what its group 'joints/position' bounds: low must lie below high",
        ),
        ({"rotations": {"arm": {"velocity": 1}}}, ARM, r"name \['arm'\]"),
        ({"channels": {"right_rot6d_0": {"low": 0}}}, WALL_26, "one number of a 6-D rotation"),
        ({"channels": {"right_arm/rotation": {"low": 0}}}, WALL_26, "right_arm: {velocity"),
        (
            {"workspace": [HAND | {"channels": ["joint_0", "joint_1", "joint_2"]}]},
            joint_space(3),
            "forward kinematics",
        ),
    ],
)
def test_limits_that_do_not_fit_a_robot_are_refused(data, layout, words):
    with pytest.raises(ValueError, match=words):
        LimitTable.build(Limits.from_dict(data), layout)
