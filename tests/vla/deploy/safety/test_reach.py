"""Joints that are told how fast to turn never turn too far, whatever the wish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rvq_action.layout import ActionLayout, Channel, DeltaRule
from tests.vla.deploy.conftest import HORIZON, SIZE, FakePolicy, FakeRobot, drive
from vla.deploy.policies.policy import PolicyDescription, Request
from vla.deploy.report import Ending
from vla.deploy.robots.protocol import RobotDescription, RobotObservation
from vla.deploy.safety.limiter import Limiter, LimitViolation
from vla.deploy.safety.limits import ChannelLimits, Limits, Workspace

RATE, LAG = 20.0, 0.3
LAYOUT = ActionLayout(
    "turned",
    (
        Channel("shoulder", "rad/s", "arm/velocity", DeltaRule.RAW),
        Channel("elbow", "rad/s", "arm/velocity", DeltaRule.RAW),
        Channel("fingers", "gripper/s", "arm/fingers", DeltaRule.RAW),
        Channel("lift", "m", "lift/height", DeltaRule.RAW),
    ),
)
LOW, HIGH = np.array([-0.5, -0.2, 0.0, -9.0]), np.array([0.5, 0.8, 1.0, 9.0])
START = np.array([0.1, 0.1, 0.5, 0.0])
FREE = ChannelLimits(-2.0, 2.0, velocity=10.0)


def limits(speed: ChannelLimits = FREE, lag: float = 0.0) -> Limits:
    places = zip(LAYOUT.names[:3], LOW, HIGH, strict=False)
    own = {name: replace(speed, position=(low, high), lag=lag) for name, low, high in places}
    return Limits(own)


def unplaced(speed: ChannelLimits = FREE) -> Limits:
    return Limits(dict.fromkeys(LAYOUT.names[:3], speed))


class Joints:
    """Go late, and then a part of the way to where they were sent in every period.

    Args:
        share: Of that way.
        delay: Periods.
    """

    def __init__(self, share: float = 1.0, delay: int = 0, at: np.ndarray = START) -> None:
        self.share, self.at, self.goal = share, at.copy(), at.copy()
        self.late = [np.zeros(4)] * delay

    def move(self, rates: np.ndarray) -> None:
        self.late.append(rates)
        self.goal = self.goal + self.late.pop(0) / RATE
        self.at = self.at + self.share * (self.goal - self.at)


def wishes(seed: int, count: int = 300) -> np.ndarray:
    """[count, 4]: held for a while, changed in every period, or to and fro."""
    rng = np.random.default_rng(seed)
    held = np.repeat(rng.uniform(-3, 3, (count // 20, 4)), 20, axis=0)
    quick = rng.choice([-5.0, 0.0, 5.0], (count // 3, 4))
    swing = 4 * np.sign(np.sin(np.arange(count // 3)[:, None] * rng.uniform(0.1, 1.0, 4)))
    told = np.vstack([held[: count // 3], quick, swing])
    return np.where([True, True, True, False], told, 0.0)


def moved(
    limiter: Limiter,
    joints: Joints,
    asked: np.ndarray,
    is_held: Callable[[int], bool] = lambda number: False,
) -> tuple[np.ndarray, np.ndarray]:
    """Where they were and what they were told: [n, 4] each."""
    places, told = [], []
    for number, wish in enumerate(asked):
        if is_held(number):
            rates = limiter.rest() if told else None
            rates = np.zeros(4) if rates is None else rates
        else:
            rates = limiter.limit(wish, joints.at.astype(np.float32)).values
        joints.move(rates)
        places.append(joints.at)
        told.append(rates)
    return np.array(places), np.array(told)


def outside(places: np.ndarray) -> float:
    """By how much the furthest was beyond its range."""
    return float(np.maximum(places - HIGH, LOW - places).max())


@pytest.mark.parametrize("speed", [1.0, 0.25])
@pytest.mark.parametrize("slowing", [10.0, np.inf])
@pytest.mark.parametrize("jerk", [np.inf, 60.0])
def test_no_wish_leads_out_of_the_range(speed, slowing, jerk):
    for seed in range(2):
        bounds = ChannelLimits(-2.0, 2.0, slowing, jerk)
        limiter = Limiter(limits(bounds), LAYOUT, RATE, speed)
        places, told = moved(limiter, Joints(), wishes(seed))
        assert outside(places) < 1e-6
        assert np.ptp(places, axis=0)[:3].min() > 0.25
        changes = np.abs(np.diff(np.vstack([np.zeros(4), told]), axis=0)) * RATE
        assert (changes[:, :3] <= limiter.table.velocity[:3] + 1e-3).all()
        free, _ = moved(Limiter(unplaced(bounds), LAYOUT, RATE, speed), Joints(), wishes(seed))
        assert outside(free) > 0.1


BEHIND = (
    {"share": 1 - np.exp(-1 / (RATE * LAG))},
    {"share": 0.3},
    {"delay": 6},
    {"delay": 3},
    {"share": 1 - np.exp(-1 / (RATE * LAG / 2)), "delay": 3},
)


@pytest.mark.parametrize("joints", BEHIND)
@pytest.mark.parametrize("slowing", [10.0, np.inf])
def test_nor_does_any_where_joints_are_behind_their_commands(joints, slowing):
    """Late, ever slower or both, by as much as the limits say or less; held now and then."""
    bounds, found = replace(FREE, velocity=slowing), []
    for seed in range(3):
        rests = np.random.default_rng(seed).random(300) < 0.03
        holds = np.convolve(rests, np.ones(2 * seed + 1))[:300] > 0
        for known in (True, False):
            limiter = Limiter(limits(bounds, LAG if known else 0.0), LAYOUT, RATE)
            places, _ = moved(limiter, Joints(**joints), wishes(seed), holds.__getitem__)
            found.append((known, outside(places)))
    assert max(by for known, by in found if known) < 1e-6
    assert max(by for known, by in found if not known) > 0.01


@pytest.mark.parametrize("joints", [{}, *BEHIND])
def test_the_whole_range_can_be_used(joints):
    limiter, asked = Limiter(limits(lag=LAG if joints else 0.0), LAYOUT, RATE), np.ones((100, 4))
    places, _ = moved(limiter, Joints(**joints), asked * [1, -1, 1, 0])
    assert places[-1, :3] == pytest.approx([HIGH[0], LOW[1], HIGH[2]], abs=2e-3)


def test_what_leads_nowhere_near_a_wall_passes_untouched():
    swing = 0.15 * np.sin(np.arange(200)[:, None] / 20 * np.array([1.0, 1.0, 1.0, 0.0]))
    joints, limiter = Joints(share=0.5), Limiter(limits(lag=0.1), LAYOUT, RATE)
    for wish in swing:
        limited = limiter.limit(wish, joints.at)
        assert limited.clipped == () and limited.values == pytest.approx(wish, abs=1e-12)
        joints.move(limited.values)


def test_who_begins_outside_may_come_back_and_may_not_go_further():
    far = START + [1.0, -1.0, 0.0, 0.0]
    for joints in ({}, {"share": 0.3, "delay": 2}):
        lag = LAG if joints else 0.0
        out, told = moved(
            Limiter(limits(lag=lag), LAYOUT, RATE),
            Joints(**joints, at=far),
            np.ones((5, 4)) * [3, -3, 0, 0],
        )
        assert (told[:, :2] == 0).all() and (out[:, :2] == far[:2]).all()
        limiter = Limiter(limits(lag=lag), LAYOUT, RATE)
        places, told = moved(limiter, Joints(**joints, at=far), -np.ones((100, 4)) * [3, -3, 0, 0])
        assert (told[0, 0] < 0 < told[0, 1]) and outside(places[40:]) < 1e-6
        assert (np.diff(places[:, 0]) <= 0).all() and (np.diff(places[:, 1]) >= 0).all()


def test_limits_that_stop_do_so_at_a_wall_alone():
    joints, limiter = Joints(), Limiter(replace(limits(), on_violation="stop"), LAYOUT, RATE)
    wish = np.array([0.4, 0.0, 0.0, 0.0])
    with pytest.raises(LimitViolation, match=r"limits: shoulder 0\.4 \(nearest allowed: "):
        for _ in range(40):
            joints.move(limiter.limit(wish, joints.at).values)
    assert 0.45 < joints.at[0] <= 0.5
    assert limiter.limit(np.zeros(4), joints.at).clipped == ()


def test_a_joint_that_brakes_before_a_wall_does_not_jump_back():
    """However slowly its slowing down may change."""
    bounds = ChannelLimits(-2.0, 2.0, velocity=4.0, acceleration=8.0)
    limiter = Limiter(limits(bounds), LAYOUT, RATE)
    places, told = moved(limiter, Joints(), np.ones((100, 4)) * [2, 0, 0, 0])
    assert told[:, 0].max() > 0.5 and told[:, 0].min() >= 0
    assert places[-1, 0] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_nothing_is_told_where_a_limited_position_is_not_known(lost):
    at = START.copy()
    at[1] = lost
    limiter = Limiter(limits(), LAYOUT, RATE)
    with pytest.raises(LimitViolation, match=r"position of \['elbow'\] is not known, but limited"):
        limiter.start(at)
    limiter.start(START)
    with pytest.raises(LimitViolation, match=r"\['elbow'\] is not known"):
        limiter.limit(np.zeros(4), at)
    assert limiter.limit(np.zeros(4), START).clipped == ()
    Limiter(unplaced(), LAYOUT, RATE).start(at)


def test_a_box_and_the_positions_of_its_channels_bound_both():
    names = ("vx", "vy", "vz")
    hand = ActionLayout(
        "hand", tuple(Channel(n, "m/s", "hand/velocity", DeltaRule.RAW) for n in names)
    )
    box = Workspace(names, (-0.2, -0.2, 0.0), (0.2, 0.2, 0.3), lag=0.1)
    own = {"vz": replace(FREE, position=(0.1, 0.5), lag=0.2)}
    reach = Limiter(Limits(own, workspace=(box,)), hand, RATE).table.reach
    assert (reach.low.tolist(), reach.high.tolist()) == ([-0.2, -0.2, 0.1], [0.2, 0.2, 0.3])
    assert reach.lag.tolist() == [0.1, 0.1, 0.2] and reach.is_bound.all()
    own = {"vz": replace(FREE, position=(0.4, 0.5))}
    with pytest.raises(ValueError, match="leave nothing in between"):
        Limiter(Limits(own, workspace=(box,)), hand, RATE)


def test_low_speed_leaves_the_range_as_it_is():
    slow = Limiter(limits(lag=LAG), LAYOUT, RATE, 0.2).table
    assert slow.reach.high[:3].tolist() == HIGH[:3].tolist() and slow.reach.lag[0] == LAG
    assert slow.high[0] == pytest.approx(0.4)


class Turned(FakeRobot):
    """A robot of these joints that goes as it is told, also where it is told nothing new."""

    def __init__(self, **limited) -> None:
        super().__init__()
        told = "arm", LAYOUT, RATE, {"front": SIZE}, limits(**limited)
        self.description = RobotDescription(*told)
        self.state, self.rates = START.copy(), np.zeros(4)

    def observe(self) -> RobotObservation:
        self.state = self.state + self.rates / RATE
        return super().observe()

    def send(self, command: np.ndarray) -> None:
        self.rates = np.where([True, True, True, False], command, 0.0)
        self._note("send", self.state.copy())

    def hold(self, command: np.ndarray | None) -> None:
        assert command is None or not command[:3].any()
        self.rates = np.zeros(4)
        self._note("hold", self.state.copy())


class Outwards(FakePolicy):
    """Always as fast as it can."""

    def __init__(self) -> None:
        super().__init__()
        cameras = {"front": "front"}
        self.description = PolicyDescription("arm", LAYOUT, RATE, HORIZON, cameras)

    def act(self, request: Request) -> np.ndarray:
        return np.tile([2.0, -2.0, 2.0, 0.0], (HORIZON, 1))


def test_a_run_ends_at_the_walls():
    report, robot, _ = drive(Turned(), Outwards(), mode="receding", latency=2 / RATE)
    assert robot.state[:3] == pytest.approx([HIGH[0], LOW[1], HIGH[2]], abs=1e-6)
    assert report.held and set(report.clipped) == set(LAYOUT.names[:3])


@pytest.mark.parametrize("blind_from", [3, 4])
def test_a_position_that_is_lost_holds_the_robot(blind_from):
    robot = Turned()
    robot.blind_from = blind_from
    report, robot, _ = drive(robot, Outwards())
    assert report.ending is Ending.HELD_TOO_LONG and "elbow" in report.detail
    after = [name for look, name, _ in robot.calls if look > blind_from]
    assert "send" not in after and after[0] == "hold"
    assert outside(robot.state[None]) < 1e-6


def test_a_position_that_was_never_known_moves_nothing():
    robot = Turned()
    robot.blind_from = 0
    report, robot, _ = drive(robot, Outwards())
    assert report.ending is Ending.OUT_OF_LIMITS and "['elbow'] is not known" in report.detail
    assert "send" not in robot.names() and "stop" in robot.names()


@pytest.mark.parametrize("begins", range(4, 12))
def test_what_is_still_to_come_is_not_forgotten_where_the_robot_begins_anew(begins):
    """Another joint was pushed: what this one was told before comes out all the same."""
    limiter, joints, places = Limiter(limits(lag=LAG), LAYOUT, RATE), Joints(delay=6), []
    for number in range(60):
        if number == begins:
            limiter.start(joints.at.astype(np.float32))
            limiter.rest()
        rates = limiter.limit(np.array([1.0, 1.0, 1.0, 0.0]), joints.at.astype(np.float32)).values
        joints.move(rates)
        places.append(joints.at)
    assert outside(np.array(places)) < 1e-6


def test_a_joint_that_nobody_told_anything_for_a_while_still_has_its_speed():
    """It is braked from there, not taken to stand; what is told where to be stands."""
    slow = dict.fromkeys(("shoulder", "lift"), ChannelLimits(-2.0, 2.0, velocity=4.0))
    limiter = Limiter(Limits(slow), LAYOUT, RATE)
    for _ in range(20):
        limiter.limit(np.array([1.0, 0.0, 0.0, 0.5]), START.astype(np.float32))
    limiter.coast()
    told = limiter.limit(np.array([0.0, 0.0, 0.0, 0.5]), START.astype(np.float32)).values
    np.testing.assert_allclose(told[[0, 3]], [1.0 - 4.0 / RATE, 0.5])
