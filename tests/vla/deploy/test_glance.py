"""A robot that is looked at once is let go of, whatever happens."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from vla.deploy.glance import glance
from vla.deploy.robots.protocol import RobotError


def test_it_shows_what_it_sees_and_is_sent_nothing(arm):
    assert glance(arm).proprio.shape == (4,)
    assert arm.names() == ["connect", "disconnect"]


def test_one_that_cannot_be_reached_whole_is_let_go_of(arm):
    def connect():
        raise RobotError("the second motor does not answer")

    arm.connect = connect
    with pytest.raises(RobotError, match="second motor"):
        glance(arm)
    assert arm.names() == ["disconnect"]


def test_a_signal_lets_go_of_it(arm):
    def observe():
        os.kill(os.getpid(), signal.SIGUSR1)
        threading.Event().wait(1.0)

    arm.observe = observe
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with pytest.raises(KeyboardInterrupt):
            glance(arm)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert arm.names() == ["connect", "disconnect"]
