"""What comes after a robot was out of sight for a while, or not to be believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.vla.deploy.conftest import RATE, FakePolicy, FakeRobot, drive
from vla.deploy.policies.policy import Request
from vla.deploy.recording.recorder import Recorder
from vla.deploy.report import Ending, Reason
from vla.deploy.robots.protocol import RobotError, RobotObservation
from vla.deploy.settings import SafetySettings


class Blinks(FakeRobot):
    """Does not answer some of the times that it is looked at.

    Args:
        lost: Numbers of the looks, from 1.
    """

    def __init__(self, *lost: int, **more) -> None:
        super().__init__(**more)
        self.lost = lost

    def observe(self) -> RobotObservation:
        seen = super().observe()
        if self.looks in self.lost:
            raise RobotError("a lost packet")
        return seen


def test_lost_packets_while_the_first_chunk_is_waited_for_end_no_run():
    """Each is a fault of its own: the waiting between them is none."""
    safety = SafetySettings(stop_after_s=0.3)
    told = {"latency": 1.5, "periods": 40, "safety": safety}
    report, robot, _ = drive(Blinks(11, 21), **told)
    assert report.ending is Ending.TIME and report.sent == 10
    assert report.held[Reason.ROBOT] == 2
    silent, robot, _ = drive(Blinks(*range(11, 99)), **told)
    assert silent.ending is Ending.HELD_TOO_LONG and "a lost packet" in silent.detail
    assert silent.held[Reason.ROBOT] == 0.3 * RATE + 1


def test_a_policy_whose_first_chunks_are_unusable_is_not_waited_for_like_one_that_is_slow():
    fails = FakePolicy(lambda number, chunk: 1 / 0)
    safety = SafetySettings(stop_after_s=0.5, start_timeout_s=9.0)
    report, _, policy = drive(None, fails, latency=0.2, periods=200, safety=safety)
    assert report.ending is Ending.HELD_TOO_LONG and len(policy.requests) == 3
    assert report.seconds == pytest.approx(0.2 + 0.5)


MODES = ("receding", "asynchronous", "joined", "real_time", "ensemble")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("latency", [0.1, 0.6])
def test_a_robot_that_was_out_of_sight_does_what_is_planned_from_what_is_seen_then(mode, latency):
    """Not what the old chunk would have come to by now, nor what was on its way meanwhile."""
    policy = FakePolicy(real_time=True)
    told = {"latency": latency, "mode": mode, "periods": 80, "execute_frames": 5}
    _, robot, policy = drive(Blinks(*range(19, 24)), policy, safety=SafetySettings(), **told)
    back = 23 / RATE
    numbers = [
        round(value[0]) for looks, name, value in robot.calls if name == "send" and looks > 23
    ]
    assert numbers and all(policy.requests[n].observation.time >= back for n in numbers)


@pytest.mark.parametrize("mode", MODES)
def test_a_few_lost_packets_leave_the_plan_as_it_is(mode):
    policy = FakePolicy(real_time=True)
    _, robot, _ = drive(Blinks(4, 5), policy, mode=mode, execute_frames=10, periods=9)
    assert robot.sent()[:, 1].tolist() == [0, 1, 2, 5, 6, 7, 8]


def test_what_was_not_recorded_for_a_while_is_planned_anew(tmp_path, monkeypatch):
    full = iter([False] * 3 + [True] * 5 + [False] * 99)
    monkeypatch.setattr(Recorder, "problem", property(lambda _: "full" if next(full) else ""))
    report, robot, _ = drive(execute_frames=10, periods=14, record=tmp_path / "run")
    assert report.held == {Reason.RECORDING: 5}
    assert robot.sent()[:, :2].tolist()[2:5] == [[0, 2], [1, 0], [1, 1]]


class Thinks(FakePolicy):
    """Plans five seconds ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.description = replace(self.description, horizon=100)

    def act(self, request: Request) -> np.ndarray:
        return np.repeat(super().act(request), 10, axis=0)


@pytest.mark.parametrize("latency", [1.2, 1.9])
def test_a_gap_is_over_for_a_policy_that_is_slow_too(latency):
    """It waits for a whole chunk then, as at the beginning: nothing is wrong any more."""
    safety = SafetySettings(stop_after_s=2.0)
    told = {"latency": latency, "execute_frames": 20, "periods": 240, "safety": safety}
    report, *_ = drive(Blinks(*range(100, 104)), Thinks(), **told)
    assert report.ending is Ending.TIME and report.held[Reason.ROBOT] == 4
    assert report.chunks > 1
