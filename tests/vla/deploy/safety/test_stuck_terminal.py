"""A terminal that stands still keeps nobody from holding or stopping the robot."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from tests.vla.deploy.conftest import FakePolicy, FakeRobot, drive
from tests.vla.deploy.safety.test_watchdog import FAST, HangsIn
from vla.deploy.clock import SimulatedClock
from vla.deploy.recording.logs import logging_aside
from vla.deploy.run import run
from vla.deploy.safety.estop import EmergencyStop
from vla.deploy.safety.guard import GuardedRobot
from vla.deploy.safety.watchdog import Watchdog, WatchdogThread
from vla.deploy.settings import DeploymentSettings

PATIENCE_S = 30.0


@pytest.fixture
def stuck() -> Iterator[int]:
    """Everything that is logged goes to a full pipe; its other end, which frees it when read."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    handler, root = logging.StreamHandler(os.fdopen(write, "w", buffering=1)), logging.getLogger()
    root.addHandler(handler)
    yield read
    root.removeHandler(handler)
    os.close(read)
    with suppress(BrokenPipeError):
        handler.stream.close()


@pytest.fixture
def order() -> Iterator[list[str]]:
    """Where a log joins what else is noted in it."""

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            noted.append("log")

    noted, handler, told = [], Noting(logging.WARNING), logging.getLogger("vla.deploy")
    told.addHandler(handler)
    yield noted
    told.removeHandler(handler)


def beside(call) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_a_hung_loop_is_held_and_stopped(stuck):
    robot = HangsIn()
    settings = DeploymentSettings("wave", safety=FAST, keys=False)
    loop = beside(lambda: run(robot, FakePolicy(), settings))
    assert robot.stopped.wait(PATIENCE_S)
    assert "hold" in robot.names()
    robot.let_go.set()
    loop.join(PATIENCE_S)
    assert not loop.is_alive()


def test_a_loop_that_has_much_to_tell_goes_on_to_its_end(stuck):
    robot, reports = FakeRobot(), []
    robot.lost_from = 4
    run_it = beside(lambda: reports.append(drive(robot, periods=200)[0]))
    run_it.join(PATIENCE_S)
    assert reports and robot.names()[-2:] == ["stop", "disconnect"]


def test_the_emergency_stop_acts(stuck):
    robot, stop, moving = FakeRobot(), EmergencyStop(), threading.Event()
    stopped, send = threading.Event(), robot.send
    robot.send = lambda command: (send(command), moving.set())
    robot.stop = stopped.set
    settings = DeploymentSettings("wave", keys=False)
    loop = beside(lambda: run(robot, FakePolicy(), settings, stop=stop))
    assert moving.wait(PATIENCE_S)
    beside(lambda: stop.press("a person"))
    assert stopped.wait(PATIENCE_S)
    loop.join(PATIENCE_S)
    assert not loop.is_alive()


def test_what_was_told_meanwhile_is_told_when_the_terminal_goes_on(stuck):
    with logging_aside(patience=0.01):
        logging.getLogger("vla.deploy.robot").warning("the cable is out")
    assert logging.getLogger().handlers
    told = b""
    while b"the cable is out\n" not in told:
        told += os.read(stuck, 65536)


def test_logs_are_whole_when_it_ends_and_the_handlers_are_back(caplog):
    before = list(logging.getLogger().handlers)
    with logging_aside(), logging_aside():
        logging.getLogger("vla.deploy").warning("one %s", "word")
    assert [record.getMessage() for record in caplog.records] == ["one word"]
    assert logging.getLogger().handlers == before


def test_whoever_leaves_first_leaves_the_others_aside():
    one, other = logging_aside(), logging_aside()
    before = list(logging.getLogger().handlers)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert logging.getLogger().handlers != before
    other.__exit__(None, None, None)
    assert logging.getLogger().handlers == before


def test_the_emergency_stop_acts_before_it_talks(order):
    stop = EmergencyStop()
    stop.on_press(lambda: order.append("stop"))
    stop.press("a person")
    assert order == ["stop", "log"]


def test_the_watchdog_acts_before_it_talks(order):
    ended = threading.Event()

    def stop():
        order.append("stop")
        ended.set()

    told = Watchdog(0.1, 0.5, 0.0), lambda: order.append("hold"), stop, SimulatedClock()
    with WatchdogThread(*told):
        assert ended.wait(PATIENCE_S)
    assert order == ["hold", "log", "stop", "log"]


def test_a_robot_is_stopped_beside_its_call_before_that_is_told(order):
    robot, inside, release = FakeRobot(), threading.Event(), threading.Event()
    robot.send = lambda command: (inside.set(), release.wait(PATIENCE_S))
    robot.stop = lambda: order.append("stop")
    guarded = GuardedRobot(robot, 0.01)
    sender = beside(lambda: guarded.send(np.zeros(4)))
    assert inside.wait(PATIENCE_S)
    guarded.stop()
    assert order == ["stop", "log"]
    release.set()
    sender.join(PATIENCE_S)


def test_the_loop_holds_before_it_talks(order):
    robot = FakeRobot()
    robot.lost_from = 4
    robot.hold = lambda command: order.append("hold")
    drive(robot, periods=200)
    assert order[:2] == ["hold", "log"]
