"""The emergency stop: by call, by signal, by key."""

from __future__ import annotations

import os
import pty
import signal
import sys
import termios
import threading
from types import SimpleNamespace

import pytest

from tests.vla.deploy.conftest import FakePolicy, FakeRobot, drive
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.report import Ending
from vla.deploy.run import run
from vla.deploy.safety.estop import SIGNALS, EmergencyStop, by_signal
from vla.deploy.safety.keys import by_key
from vla.deploy.settings import DeploymentSettings, SafetySettings

PATIENCE_S = 30.0
CALM = SafetySettings(frozen_camera_s=60.0, stop_after_s=60.0, watchdog_s=30.0)


def test_the_first_one_counts_and_acts_at_once():
    stop, calls = EmergencyStop(), []
    stop.on_press(lambda: 1 / 0)
    stop.on_press(lambda: calls.append(threading.current_thread()))
    stop.press("the button")
    stop.press("another")
    assert calls == [threading.current_thread()] and stop.reason == "the button"


def test_a_second_press_does_again_what_failed_alone():
    stop, calls = EmergencyStop(), []

    def fail_once():
        calls.append("robot")
        if calls.count("robot") == 1:
            raise ConnectionError("no route to the robot")

    stop.on_press(fail_once)
    stop.on_press(lambda: calls.append("lamp"))
    for _ in range(3):
        stop.press("the button")
    assert calls == ["robot", "lamp", "robot"]


def test_nobody_presses_beside_one_who_is_pressing():
    stop, inside, release, calls = EmergencyStop(), threading.Event(), threading.Event(), []

    def hang():
        calls.append(1)
        inside.set()
        release.wait(PATIENCE_S)

    stop.on_press(hang)
    first = threading.Thread(target=lambda: stop.press("the button"))
    first.start()
    assert inside.wait(PATIENCE_S)
    stop.press("another")
    release.set()
    first.join(PATIENCE_S)
    assert calls == [1]


def test_a_call_stops_the_robot_before_its_next_command():
    stop, robot = EmergencyStop(), FakeRobot()

    def spoil(number, chunk):
        if number == 2:
            stop.press("somebody called")
        return chunk

    clock, policy = SimulatedClock(), FakePolicy(spoil)
    robot.now = clock.now
    settings = DeploymentSettings("wave", keys=False)
    report = run(robot, policy, settings, clock, SimulatedInference(policy, clock), stop)
    assert report.ending is Ending.EMERGENCY_STOP and report.sent == 10
    assert robot.names()[-2:] == ["stop", "disconnect"]


def test_a_robot_that_cannot_be_stopped_is_tried_again_and_then_said_to_be_lost():
    stop, robot, tries = EmergencyStop(), FakeRobot(), []

    def fail():
        tries.append(1)
        raise ConnectionError("no route to the robot")

    robot.stop = fail
    stop.press("at once")
    clock, policy = SimulatedClock(), FakePolicy()
    settings = DeploymentSettings("wave", keys=False)
    report = run(robot, policy, settings, clock, SimulatedInference(policy, clock), stop)
    assert report.ending is Ending.ROBOT_LOST and "no route" in report.detail and tries
    assert robot.names()[-1] == "disconnect"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_a_run_in_real_time(number):
    robot = FakeRobot()
    send = robot.send

    def send_and_signal(command):
        send(command)
        if len(robot.sent()) == 3:
            os.kill(os.getpid(), number)

    robot.send = send_and_signal
    before = signal.getsignal(number)
    report = run(robot, FakePolicy(), DeploymentSettings("wave", safety=CALM, keys=False))
    assert report.ending is Ending.EMERGENCY_STOP
    assert report.detail == f"signal {signal.Signals(number).name}"
    assert robot.names()[-2:] == ["stop", "disconnect"] and report.sent >= 3
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_before_anything_moves_ends_the_run_and_leaves_nothing(number, tmp_path):
    def ready():
        os.kill(os.getpid(), number)
        threading.Event().wait(1.0)

    robot, before = FakeRobot(), signal.signal(number, lambda *_: None)
    settings = DeploymentSettings("wave", seconds=0.1, record=tmp_path / "run", keys=False)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(robot, FakePolicy(), settings, ready=ready)
    finally:
        signal.signal(number, before)
    assert robot.names() == ["connect", "disconnect"] and not (tmp_path / "run").exists()


def test_who_lets_go_of_a_robot_is_not_killed_by_a_signal():
    robot, stopped = FakeRobot(), threading.Event()

    def disconnect():
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stopped.wait(PATIENCE_S)

    robot.disconnect, robot.stop = disconnect, stopped.set
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        report = run(robot, FakePolicy(), DeploymentSettings("wave", seconds=0.2, keys=False))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert report.ending is Ending.EMERGENCY_STOP and "SIGUSR1" in report.detail
    assert not report.problems


def test_a_stop_after_a_peaceful_end_is_told():
    """While a hung inference is waited for."""
    stop, robot = EmergencyStop(), FakeRobot()

    class Slow(SimulatedInference):
        def close(self):
            stop.press("a person")
            return True

    clock, policy = SimulatedClock(), FakePolicy()
    robot.now = clock.now
    settings = DeploymentSettings("wave", seconds=0.5, keys=False)
    report = run(robot, policy, settings, clock, Slow(policy, clock), stop)
    assert (report.ending, report.detail) == (Ending.EMERGENCY_STOP, "a person")
    assert robot.names()[-3:] == ["hold", "stop", "disconnect"]


def test_a_signal_is_heard_while_the_main_thread_is_busy():
    stop, heard = EmergencyStop(), threading.Event()
    stop.on_press(heard.set)
    with by_signal(stop, (signal.SIGUSR1,)):
        os.kill(os.getpid(), signal.SIGUSR1)
        assert heard.wait(PATIENCE_S)
    assert stop.reason == "signal SIGUSR1"


def test_signals_that_follow_at_once_are_the_same_alarm():
    stop = EmergencyStop()
    with by_signal(stop, (signal.SIGUSR1,)):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.pressed.wait(PATIENCE_S)


def test_a_later_signal_interrupts_a_program_that_is_stuck(monkeypatch):
    monkeypatch.setattr("vla.deploy.safety.estop.SAME_HAND_S", -1.0)
    with by_signal(EmergencyStop(), (signal.SIGUSR1,)), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
        threading.Event().wait(PATIENCE_S)


@pytest.mark.parametrize("key", [b" ", b"q", b"\x1b", b"\x1a", b"\x1c"])
def test_a_key_presses_it_and_others_do_not(key):
    keyboard, terminal = pty.openpty()
    stop = EmergencyStop()
    with by_key(stop, terminal) as is_heard:
        assert is_heard
        os.write(keyboard, b"x")
        assert not stop.pressed.wait(0.3)
        os.write(keyboard, key)
        assert stop.pressed.wait(PATIENCE_S)
    for end in (keyboard, terminal):
        os.close(end)


def test_no_key_stops_the_output():
    """As Ctrl-S does elsewhere."""
    keyboard, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    with by_key(EmergencyStop(), terminal):
        assert before[0] & termios.IXON and not termios.tcgetattr(terminal)[0] & termios.IXON
    assert termios.tcgetattr(terminal) == before
    for end in (keyboard, terminal):
        os.close(end)


def test_keys_of_windows_press_it(monkeypatch):
    keyboard, terminal = pty.openpty()
    typed, stop = [b"x", b"q"], EmergencyStop()
    console = SimpleNamespace(kbhit=lambda: bool(typed), getch=lambda: typed.pop(0))
    monkeypatch.setattr("vla.deploy.safety.keys.IS_WINDOWS", True)
    monkeypatch.setitem(sys.modules, "msvcrt", console)
    monkeypatch.setitem(sys.modules, "termios", None)
    with by_key(stop, terminal) as is_heard:
        assert is_heard and stop.pressed.wait(PATIENCE_S)
    assert stop.reason == "key 'q'"
    for end in (keyboard, terminal):
        os.close(end)


def test_a_terminal_that_goes_away_presses_it():
    keyboard, terminal = pty.openpty()
    stop = EmergencyStop()
    with by_key(stop, terminal):
        os.close(keyboard)
        assert stop.pressed.wait(PATIENCE_S)
    assert stop.reason == "the terminal is gone"
    os.close(terminal)


def test_a_closed_connection_and_the_keys_that_suspend_and_kill_are_among_the_signals():
    assert {signal.SIGHUP, signal.SIGTSTP, signal.SIGQUIT} <= set(SIGNALS)


def test_without_a_terminal_there_are_no_keys():
    read, write = os.pipe()
    with by_key(EmergencyStop(), read) as is_heard:
        assert not is_heard
    for end in (read, write):
        os.close(end)


def test_a_run_in_another_thread_leaves_signals_alone():
    reports = []
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: reports.append(drive(periods=3)[0]))
    thread.start()
    thread.join(PATIENCE_S)
    assert reports[0].ending is Ending.TIME and signal.getsignal(signal.SIGINT) == before
