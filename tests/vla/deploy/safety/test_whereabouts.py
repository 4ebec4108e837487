"""A robot that is not where it was left, when it is seen again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rvq_action import WALL_26
from rvq_action.rotation import axis_angle_to_matrix, matrix_to_rot6d
from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import RATE, FakePolicy, FakeRobot, drive
from vla.deploy.report import Ending
from vla.deploy.robots.protocol import RobotError, RobotObservation
from vla.deploy.safety.limit_table import LimitTable
from vla.deploy.safety.limits import ChannelLimits, Limits, RotationLimits
from vla.deploy.safety.whereabouts import displaced
from vla.deploy.settings import SafetySettings

LIMIT = ChannelLimits(-5.0, 5.0, velocity=1.0, acceleration=20.0)
FROM_REST = 20.0 / RATE**2
GONE = range(20, 30)


class Wanders(FakeRobot):
    """Is out of sight for a while, and elsewhere when it is back.

    Args:
        way: From where it was told to be to there, of joint 1.
        share: Of the way to its last command that it goes in a period.
    """

    def __init__(self, way: float, share: float = 1.0) -> None:
        super().__init__(Limits(dict.fromkeys(ARM.names, LIMIT)))
        self.way, self.share, self.at = way, share, np.zeros(4)

    def observe(self) -> RobotObservation:
        self.at = self.at + self.share * (self.state - self.at)
        seen = super().observe()
        if self.looks in GONE:
            raise RobotError("the power is out")
        if self.looks == GONE[-1] + 1:
            self.at = self.at + np.array([0.0, self.way, 0.0, 0.0])
        return replace(seen, proprio=self.at.astype(np.float32))

    def told_since(self) -> list[float]:
        """Joint 1 of what it was told to do or to hold since it is back, and of the last before."""
        return [v[1] for looks, name, v in self.calls if looks >= GONE[-1] and v is not None]


class Climbs(FakePolicy):
    """Wants joint 1 to rise, always from 0 on, one limit step in each frame."""

    def __init__(self) -> None:
        super().__init__()
        self.description = replace(self.description, horizon=100)

    def act(self, request) -> np.ndarray:
        self.requests.append(request)
        chunk = np.zeros((100, 4))
        chunk[:, 1] = np.arange(100) / RATE
        return chunk


@pytest.mark.parametrize("way", [-2.0, 1.5])
@pytest.mark.parametrize("latency", [0.0, 0.15])
def test_a_robot_that_was_moved_meanwhile_begins_anew_from_where_it_is(way, latency, caplog):
    """It is neither sent nor held where it was before."""
    told = {"latency": latency, "periods": 40, "safety": SafetySettings()}
    with caplog.at_level("WARNING", logger="vla.deploy"):
        _, robot, policy = drive(Wanders(way), Climbs(), **told)
    before, *since = robot.told_since()
    assert since[0] == pytest.approx(before + way, abs=FROM_REST + 1e-6)
    assert np.abs(np.diff(since)).max() <= LIMIT.velocity / RATE + 1e-9
    assert [r for r in caplog.records if "Moved: joint_1" in r.getMessage()]
    assert policy.requests[-1].observation.time >= GONE[-1] / RATE


def test_a_robot_that_has_only_caught_up_with_its_commands_goes_on_from_them(caplog):
    """Slow as it is, it was on its way."""
    told = {"periods": 40, "safety": SafetySettings()}
    with caplog.at_level("WARNING", logger="vla.deploy"):
        _, robot, _ = drive(Wanders(0.0, share=0.3), Climbs(), **told)
    before, *since = robot.told_since()
    assert since[0] == pytest.approx(before, abs=FROM_REST + 1e-9)
    assert not [r for r in caplog.records if "Moved" in r.getMessage()]


def test_a_robot_that_is_found_outside_its_limits_is_stopped():
    report, robot, _ = drive(Wanders(-7.0), Climbs(), periods=40, safety=SafetySettings())
    assert report.ending is Ending.OUT_OF_LIMITS and "Bring it back by hand" in report.detail
    before, *since = robot.told_since()
    assert not since and robot.names()[-2:] == ["stop", "disconnect"]


def moved(limits: Limits, layout, *places: np.ndarray) -> tuple[str, ...]:
    return displaced(LimitTable.build(limits, layout), 1 / RATE, *places)


def test_what_lies_between_where_it_was_seen_and_was_told_to_be_has_not_been_moved():
    limits = Limits(dict.fromkeys(ARM.names[:3], LIMIT))
    seen, told = np.array([0.0, 0.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0, 0.0])
    for found, expected in (
        ([0.0, 0.5, 0.5, 0.0], ()),
        ([0.09, -0.09, 1.09, 9.0], ()),
        ([-0.11, 1.11, -0.11, 0.0], ARM.names[:3]),
        ([np.nan, 0.0, 1.2, 0.0], ("joint_2",)),
    ):
        assert moved(limits, ARM, seen, told, np.array(found)) == expected


def test_a_rotation_that_was_turned_has_been_moved_and_a_speed_has_not():
    limits = Limits(
        {"base_vx": ChannelLimits(-1, 1, 1.0)}, {"right_arm": RotationLimits(velocity=1.0)}
    )
    block, places = WALL_26.rotation_of("right_arm"), []
    for angle in (0.0, 0.4, 0.7):
        turn = axis_angle_to_matrix(torch.tensor([0.0, 0.0, angle], dtype=torch.float64))
        place = np.full(26, angle)
        place[block] = matrix_to_rot6d(turn).numpy()
        places.append(place)
    seen, between, beyond = places
    turned = tuple(WALL_26.names[i] for i in block)
    assert moved(limits, WALL_26, seen, beyond, between) == ()
    assert moved(limits, WALL_26, between, between, beyond) == turned
