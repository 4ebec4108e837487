"""How long a robot goes on by one look at it, when the next chunk does not come."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.vla.deploy.conftest import HORIZON, RATE, FakePolicy, FakeRobot, drive
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.playing.schedule import make_schedule
from vla.deploy.playing.schedule_settings import Mode, ScheduleSettings
from vla.deploy.report import Ending, Reason, RunReport
from vla.deploy.run import run
from vla.deploy.settings import DeploymentSettings, SafetySettings

STALE_S = 0.5
SAFETY = SafetySettings(stale_chunk_s=STALE_S, stop_after_s=3.0, start_timeout_s=3.0)
HALF_S = HORIZON / 2 / RATE
"""After which the next chunk is asked for, at full speed."""
MODES: tuple[Mode, ...] = ("asynchronous", "joined", "real_time", "ensemble")


class Late(SimulatedInference):
    """Takes its time for some requests.

    Args:
        told: As for `SimulatedInference`.
        takes: Seconds by the number of the request; the others are answered at once.
    """

    def __init__(self, *told, takes: dict[int, float]) -> None:
        super().__init__(*told)
        self.takes = takes

    def ask(self, request, now):
        self.seconds = self.takes.get(request.number, 0.0)
        super().ask(request, now)


def late(
    takes: dict[int, float], speed: float, mode: Mode = "asynchronous", seconds: float = 12.0
) -> tuple[RunReport, FakeRobot, FakePolicy]:
    clock, policy = SimulatedClock(), FakePolicy(real_time=True)
    robot = FakeRobot(now=clock.now)
    schedule = ScheduleSettings(mode, HORIZON // 2)
    told = {"seconds": seconds, "safety": SAFETY, "speed": speed, "keys": False}
    settings = DeploymentSettings("wave", schedule=schedule, **told)
    return run(robot, policy, settings, clock, Late(policy, clock, takes=takes)), robot, policy


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("speed", [0.05, 0.2])
def test_a_hung_policy_holds_a_slow_robot_long_before_its_last_frame_has_passed(speed, mode):
    report, robot, _ = late({1: math.inf}, speed, mode)
    assert report.sent / RATE == pytest.approx(HALF_S / speed + STALE_S, abs=1.5 / RATE)
    assert report.ending is Ending.HELD_TOO_LONG and "has not answered yet" in report.detail
    assert robot.names()[-2] == "stop" and set(report.held) == {Reason.LATE}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("speed", [0.05, 0.1, 0.2, 0.5, 1.0])
def test_a_slow_robot_whose_chunks_come_in_time_is_never_held(speed, mode):
    """As late as they may be, but for what a chunk at full speed lasts."""
    policy, latency = FakePolicy(real_time=True), min(STALE_S - 1 / RATE, HALF_S / speed)
    report, _, _ = drive(None, policy, latency, 400, mode, 5, safety=SAFETY, speed=speed)
    assert report.ending is Ending.TIME and not report.refused_chunks
    assert set(report.held) <= {Reason.STARTING}


def test_a_slow_robot_does_not_wait_for_a_better_seam_for_longer_than_for_a_chunk():
    """Chunk 1 is there at once, and would join the straight old one best where both meet."""
    policy = FakePolicy(real_time=True).description
    old, new = np.zeros((2, HORIZON, 4))
    old[:, 0], new[:, 0] = 4 + 0.5 * np.arange(10), np.arange(5.0, 15.0)
    asked = HALF_S / 0.1
    for patience, chunk in ((math.inf, 0), (STALE_S, 1)):
        schedule = make_schedule(policy, ScheduleSettings("joined"), 0.1, patience)
        schedule.add(old, 0, 0.0, 0.0)
        schedule.add(new, 1, asked, asked)
        assert schedule.due(asked + STALE_S).chunk == chunk


def test_a_robot_that_was_held_goes_on_by_a_chunk_of_what_it_sees_then():
    """The late one is refused; the next one begins with its first frame, from where it stands."""
    report, robot, policy = late({1: 1.0}, speed=0.2, mode="real_time", seconds=5.0)
    assert (report.ending, report.refused_chunks) == (Ending.TIME, 1)
    assert report.held == {Reason.LATE: pytest.approx(0.5 * RATE, abs=1)}
    assert policy.requests[1].committed is not None and policy.requests[2].committed is None
    after = robot.sent()[robot.sent()[:, 0] == 2]
    np.testing.assert_allclose(after[:3, 1], [0.0, 0.2, 0.4], atol=1e-9)
