"""A loop that comes late: what it sends, and when, and what it says of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import RATE, FakePolicy, FakeRobot
from vla.deploy.clock import SimulatedClock
from vla.deploy.cycle import Cycle
from vla.deploy.period import Period
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.playing.schedule import make_schedule
from vla.deploy.playing.schedule_settings import ScheduleSettings
from vla.deploy.report import Ending, Reason, RunReport, Tally
from vla.deploy.robots.protocol import RobotObservation
from vla.deploy.run import run
from vla.deploy.safety.checks import ObservationChecks
from vla.deploy.safety.guard import GuardedRobot
from vla.deploy.safety.limiter import Limiter
from vla.deploy.safety.limits import ChannelLimits, Limits
from vla.deploy.settings import DeploymentSettings, SafetySettings

PERIOD, SPEED, GAIN = 1 / RATE, 1.0, 2.0
LIMITS = Limits({name: ChannelLimits(velocity=SPEED, acceleration=GAIN) for name in ARM.names})
FROM_REST = GAIN * PERIOD**2


class Ramp(FakePolicy):
    """One long chunk: joint 1 goes at its full speed."""

    def __init__(self, frames: int = 200) -> None:
        super().__init__()
        self.description = replace(self.description, horizon=frames)
        self.ages: list[float] = []
        self.now = lambda: 0.0

    def act(self, request) -> np.ndarray:
        self.ages.append(self.now() - request.observation.time)
        chunk = np.zeros((self.description.horizon, 4))
        chunk[:, 1] = np.arange(len(chunk)) * SPEED * PERIOD
        return chunk


class Timed(FakeRobot):
    """Takes its time, and notes when it was told what; an observation is of when it began."""

    def __init__(self, clock: SimulatedClock, looks: dict[int, float] | None = None) -> None:
        super().__init__(LIMITS, clock.now)
        self.clock, self.takes = clock, looks or {}
        self.told: list[tuple[float, str, float]] = []

    def observe(self) -> RobotObservation:
        begin = self.now()
        self.clock.wait(begin + self.takes.get(self.looks + 1, 0.0), None)
        seen = super().observe()
        return RobotObservation(begin, seen.proprio, seen.images)

    def send(self, command: np.ndarray) -> None:
        self.told.append((self.now(), "send", float(command[1])))
        super().send(command)

    def hold(self, command: np.ndarray | None) -> None:
        self.told.append((self.now(), "hold", 0.0 if command is None else float(command[1])))
        super().hold(command)

    def sends(self) -> np.ndarray:
        """[n, 2]: when, and joint 1."""
        return np.array([(t, value) for t, name, value in self.told if name == "send"])


class Sleepy(SimulatedClock):
    """Wakes up late, once.

    Args:
        at: From this time on [s].
        seconds: So much too late.
    """

    def __init__(self, at: float, seconds: float) -> None:
        super().__init__()
        self.at, self.seconds = at, seconds

    def wait(self, until: float, wake) -> None:
        if until >= self.at:
            until, self.at = until + self.seconds, float("inf")
        super().wait(until, wake)


def attempt(robot: Timed, seconds: float = 3.0, **safety: float) -> tuple[RunReport, Timed, Ramp]:
    policy = Ramp()
    policy.now = robot.now
    schedule = ScheduleSettings("asynchronous", policy.description.horizon)
    told = DeploymentSettings("x", seconds, schedule, SafetySettings(**safety), keys=False)
    report = run(robot, policy, told, robot.clock, SimulatedInference(policy, robot.clock))
    return report, robot, policy


def gaps(robot: Timed) -> np.ndarray:
    return np.diff(robot.sends()[:, 0]) / PERIOD


def add_up(report: RunReport) -> int:
    return report.sent + sum(report.held.values()) + report.missed_deadlines


def test_a_look_that_takes_a_second_holds_and_then_begins_from_rest():
    """What was due when it began has passed, and the robot has stood."""
    report, robot, _ = attempt(Timed(SimulatedClock(), {20: 1.0}))
    begun = 19 * PERIOD
    around = [(name, value) for t, name, value in robot.told if begun < t < begun + 1 + 2 * PERIOD]
    (name, held), (following, first) = around[:2]
    assert (name, following) == ("hold", "send") and first - held <= FROM_REST + 1e-9
    assert report.held[Reason.BEHIND] == 1 and report.missed_deadlines == 20
    assert gaps(robot).min() > 0.5 and add_up(report) == report.periods == 60


def test_an_old_observation_reaches_no_policy():
    """Of when it was made, not of when its period began."""
    clock = SimulatedClock()
    slow = Timed(clock, dict.fromkeys(range(1, 99), 0.8 * PERIOD))
    report, robot, policy = attempt(slow, stale_observation_s=0.5 * PERIOD)
    assert (
        report.ending is Ending.HELD_TOO_LONG and "the observation is 0.040 s old" in report.detail
    )
    assert not policy.ages and not report.sent
    report, _, policy = attempt(slow, stale_observation_s=0.9 * PERIOD)
    assert report.ending is Ending.TIME and max(policy.ages) == pytest.approx(0.8 * PERIOD)


def test_a_process_that_was_suspended_sends_nothing_of_what_has_passed():
    report, robot, _ = attempt(Timed(Sleepy(1.0, 1.5)))
    sends = robot.sends()
    after = int(np.argmax(sends[:, 0] > 1.0))
    assert sends[after, 1] - sends[after - 1, 1] <= FROM_REST + 1e-9
    assert gaps(robot).min() > 0.9 and not report.held
    assert report.missed_deadlines == 30 and add_up(report) == report.periods == 60


def test_commands_come_no_closer_than_half_a_period():
    looks = {3: 0.9 * PERIOD, 9: 0.7 * PERIOD, 15: 0.9 * PERIOD, 16: 0.9 * PERIOD}
    report, robot, _ = attempt(Timed(SimulatedClock(), looks), seconds=1.0)
    assert gaps(robot).min() == pytest.approx(0.5) and report.sent == 20
    assert not report.missed_deadlines


def test_a_look_that_ends_in_the_next_period_sends_what_is_due_in_that_one():
    report, robot, _ = attempt(Timed(SimulatedClock(), {8: 1.3 * PERIOD}), seconds=1.0)
    numbers = np.round(robot.sends()[:, 0] / PERIOD - 0.2).astype(int)
    assert numbers.tolist() == [n for n in range(20) if n != 7]
    assert (report.missed_deadlines, report.sent, report.held) == (1, 19, {})


def test_a_robot_that_takes_two_periods_to_be_looked_at_is_not_driven():
    looks = dict.fromkeys(range(1, 99), 2 * PERIOD)
    report, robot, _ = attempt(Timed(SimulatedClock(), looks), stop_after_s=0.5)
    assert report.ending is Ending.HELD_TOO_LONG and not report.sent
    assert "looking at the robot took 0.100 s" in report.detail


def test_a_robot_that_the_watchdog_holds_while_a_command_is_made_is_not_sent_it():
    """Nor is the next one as if it were still moving."""
    clock, settings = SimulatedClock(), DeploymentSettings("x", keys=False)
    robot, policy = Timed(clock), Ramp(5)
    guarded, about = GuardedRobot(robot, 0.01), robot.description

    def act(request) -> np.ndarray:
        if request.number == 1:
            guarded.hold_now()
        return chunk(request)

    chunk, policy.act = policy.act, act
    limiter = Limiter(about.limits, about.layout, about.rate)
    parts = make_schedule(policy.description, ScheduleSettings("asynchronous", 4))
    told = parts, SimulatedInference(policy, clock), limiter, ObservationChecks(about, 0.25, 9.0)
    cycle, period = Cycle(guarded, *told, settings, Tally()), Period.first(clock, PERIOD)
    for _ in range(6):
        period = cycle.run(period).next()
        clock.wait(period.begin, None)
    names = [name for _, name, _ in robot.told]
    assert names == ["send"] * 4 + ["hold", "hold", "send"]
    assert abs(robot.told[-1][2] - robot.told[-2][2]) <= FROM_REST + 1e-9
