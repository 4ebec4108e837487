"""Limits of positions take a state that holds them."""

from __future__ import annotations

import pytest

from rvq_action.data.mapping import Mapping
from rvq_action.data.resolve import load_mapping
from vla.deploy.robots.protocol import RobotDescription
from vla.deploy.safety.limits import ChannelLimits, Limits

BOUND = Limits({"arm/velocity": ChannelLimits(position=(-1.0, 1.0))})
STATE = {"feature": "observation.state", "take": ["a", "b"]}


def described(proprio: dict, limits: Limits = BOUND) -> RobotDescription:
    group = {"channels": ["joint_0", "joint_1"], "unit": "rad/s", "delta": "raw"}
    action = {"feature": "action", "take": ["a_vel", "b_vel"]}
    data = {
        "embodiment": "arm",
        "layout": {"name": "arm", "groups": {"arm/velocity": group}},
        "action": {"arm/velocity": action},
        "proprio": proprio,
        "columns": {"observation.state": ["a", "b", "a.vel", "b.vel"]},
    }
    return RobotDescription.mapped(Mapping.from_dict(data), 20.0, {}, limits)


@pytest.mark.parametrize(
    "proprio",
    [
        {"arm/velocity": STATE},
        {"arm/velocity": STATE | {"take": [0, 1], "scale": 0.01745}},
        {"joint_1": STATE | {"take": ["b"]}, "joint_0": STATE | {"take": ["a"]}},
    ],
)
def test_a_state_that_holds_positions_will_do(proprio):
    assert described(proprio).limits == BOUND


@pytest.mark.parametrize(
    ("proprio", "words"),
    [
        ({}, "position of 'joint_0' is limited, but `proprio` of the mapping of 'arm' does not"),
        ({"joint_0": STATE | {"take": ["a"]}}, "position of 'joint_1' .* does not fill it"),
        ({"arm/velocity": STATE | {"take": ["a", "b.vel"]}}, "'joint_1' .* from 'b.vel', which is"),
        ({"arm/velocity": STATE | {"take": [0, 3]}}, "'joint_1' .* from 'b.vel', which is a speed"),
        (
            {"arm/velocity": STATE | {"unit": "deg/s"}},
            "from a number in 'deg/s'.* position, in rad ",
        ),
    ],
)
def test_one_that_does_not_is_refused_and_why_is_said(proprio, words):
    with pytest.raises(ValueError, match=words):
        described(proprio)
    assert described(proprio, Limits({"joint_0": ChannelLimits(-1, 1)})).layout.width == 2


def test_packaged_robots_that_are_told_speeds_say_where_they_are():
    limits = Limits({"arm/velocity": ChannelLimits(-1, 1, 4, position=(-2.0, 2.0), lag=0.1)})
    about = RobotDescription.mapped(load_mapping("cr5"), 20.0, {}, limits)
    assert about.layout.names[0] == "joint_0"
