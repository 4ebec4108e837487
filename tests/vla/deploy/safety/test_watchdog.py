"""Whoever hangs, the robot is held, and stopped in the end. Real threads, whatever their speed."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.vla.deploy.conftest import FakePolicy, FakeRobot
from vla.deploy.clock import SimulatedClock
from vla.deploy.report import Ending
from vla.deploy.robots.protocol import RobotObservation
from vla.deploy.run import run
from vla.deploy.safety.estop import EmergencyStop
from vla.deploy.safety.guard import GuardedRobot, Stopped
from vla.deploy.safety.watchdog import Watchdog, WatchdogThread
from vla.deploy.settings import DeploymentSettings, SafetySettings

PATIENCE_S = 30.0
FAST = SafetySettings(stop_after_s=0.2, watchdog_s=0.1, frozen_camera_s=9.0, start_timeout_s=30.0)


def test_its_verdict_follows_from_the_time_the_loop_is_away():
    watchdog = Watchdog(0.1, 0.5, now=0.0)
    assert [watchdog.verdict(t) for t in (0.0, 0.09, 0.1, 0.49, 0.5)] == [
        *("fine", "fine", "hold", "hold", "stop")
    ]
    watchdog.seen(0.5)
    assert watchdog.verdict(0.55) == "fine"


def test_it_holds_once_and_stops_once():
    calls, ended = [], threading.Event()

    def stop():
        calls.append("stop")
        ended.set()

    clock = SimulatedClock()
    thread = WatchdogThread(Watchdog(0.1, 0.5, 0.0), lambda: calls.append("hold"), stop, clock)
    with thread:
        assert ended.wait(PATIENCE_S)
    assert calls == ["hold", "stop"] and thread.trips == 2


@pytest.mark.parametrize("fails", ["hold", "stop"])
def test_what_it_cannot_do_it_tries_until_it_can(fails):
    tries, ended, clock = [], threading.Event(), SimulatedClock()

    def attempt(what):
        tries.append(what)
        if what == fails and tries.count(what) < 3:
            raise ConnectionError("the port is in use")
        if what == "stop":
            ended.set()

    told = (lambda: attempt("hold")), (lambda: attempt("stop"))
    with WatchdogThread(Watchdog(0.1, 0.5, 0.0), *told, clock) as thread:
        assert ended.wait(PATIENCE_S)
    assert tries == {"hold": ["hold"] * 3 + ["stop"], "stop": ["hold"] + ["stop"] * 3}[fails]
    assert thread.trips == 2


def test_it_does_again_a_stop_that_failed_although_the_loop_comes_by():
    stopped, watchdog = threading.Event(), Watchdog(0.1, 0.5, 0.0)
    watchdog.seen(1e9)
    clock = SimulatedClock()
    with WatchdogThread(watchdog, lambda: None, stopped.set, clock, is_owed=lambda: True):
        assert stopped.wait(PATIENCE_S)


class HangsIn(FakeRobot):
    """Never comes back from its sixth observation, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go, self.hung = threading.Event(), threading.Event()
        self.stopped = threading.Event()

    def observe(self) -> RobotObservation:
        if self.looks == 5:
            self.hung.set()
            assert self.let_go.wait(2 * PATIENCE_S)
        return super().observe()

    def stop(self) -> None:
        super().stop()
        self.stopped.set()


def test_a_control_loop_that_hangs_in_the_robot_is_held_and_stopped_beside_it():
    robot, reports = HangsIn(), []
    settings = DeploymentSettings("wave", safety=FAST, keys=False)
    loop = threading.Thread(target=lambda: reports.append(run(robot, FakePolicy(), settings)))
    loop.start()
    assert robot.hung.wait(PATIENCE_S) and robot.stopped.wait(PATIENCE_S)
    names = robot.names()
    assert "hold" in names[:-1] and names[-1] == "stop"
    robot.let_go.set()
    loop.join(PATIENCE_S)
    assert reports[0].ending is Ending.WATCHDOG
    assert reports[0].watchdog_trips == 2
    after = robot.names()[robot.names().index("stop") :]
    assert after == ["stop", "disconnect"]


def test_an_emergency_stop_that_fails_while_the_loop_hangs_is_done_again():
    robot, stop, tries = HangsIn(), EmergencyStop(), []
    works = robot.stop

    def fail_once():
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("the port is in use")
        works()

    robot.stop = fail_once
    patient = SafetySettings(watchdog_s=0.4, stop_after_s=60.0)
    settings = DeploymentSettings("wave", safety=patient, keys=False)
    loop = threading.Thread(target=lambda: run(robot, FakePolicy(), settings, stop=stop))
    loop.start()
    assert robot.hung.wait(PATIENCE_S)
    stop.press("a person")
    assert robot.stopped.wait(PATIENCE_S)
    robot.let_go.set()
    loop.join(PATIENCE_S)


def test_a_hung_inference_is_left_behind_and_the_robot_stopped():
    never = threading.Event()

    def hang(number, chunk):
        if number == 1:
            never.wait(PATIENCE_S)
        return chunk

    robot = FakeRobot()
    settings = DeploymentSettings("wave", safety=FAST, keys=False)
    report = run(robot, FakePolicy(hang), settings)
    never.set()
    assert report.ending is Ending.HELD_TOO_LONG
    assert report.problems == ("The inference hangs and was left behind.",)
    names = robot.names()
    assert names[-2:] == ["stop", "disconnect"] and "hold" in names[names.index("send") :]
    assert (robot.sent()[:, 0] == 0).all()


def test_nothing_is_sent_to_a_stopped_robot():
    robot = FakeRobot()
    guarded = GuardedRobot(robot, 0.01)
    guarded.send(np.ones(4))
    guarded.stop()
    guarded.stop()
    guarded.hold()
    with pytest.raises(Stopped):
        guarded.send(np.ones(4))
    assert robot.names() == ["send", "stop"]


def test_a_command_that_comes_back_late_stops_the_robot_after_the_stop_not_beside_it():
    robot, at_once = FakeRobot(), []
    sending, stopping, send_on, stop_on = (threading.Event() for _ in range(4))

    def send(command):
        sending.set()
        assert send_on.wait(PATIENCE_S)

    def stop():
        at_once.append("in")
        stopping.set()
        assert stop_on.wait(PATIENCE_S)
        at_once.append("out")

    robot.send, robot.stop = send, stop
    guarded = GuardedRobot(robot, 0.01)
    sender = threading.Thread(target=guarded.send, args=(np.zeros(4),))
    sender.start()
    assert sending.wait(PATIENCE_S)
    stopper = threading.Thread(target=guarded.stop)
    stopper.start()
    assert stopping.wait(PATIENCE_S)
    send_on.set()
    sender.join(0.3)
    stop_on.set()
    for thread in (sender, stopper):
        thread.join(PATIENCE_S)
    assert at_once == ["in", "out"] * 2


@pytest.mark.parametrize("call", ["send", "hold"])
def test_a_robot_in_the_middle_of_a_call_is_stopped_beside_it_and_again_behind_it(call):
    robot = FakeRobot()
    inside, release, command = threading.Event(), threading.Event(), getattr(robot, call)

    def hang(values):
        inside.set()
        release.wait(PATIENCE_S)
        command(np.zeros(4))

    setattr(robot, call, hang)
    guarded = GuardedRobot(robot, 0.01)
    told = (np.zeros(4),) if call == "send" else ()
    sender = threading.Thread(target=getattr(guarded, call), args=told)
    sender.start()
    assert inside.wait(PATIENCE_S)
    guarded.stop()
    assert robot.names() == ["stop"]
    release.set()
    sender.join(PATIENCE_S)
    assert robot.names() == ["stop", call, "stop"]
