"""What no robot is told, whoever asks for it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.vla.deploy.conftest import FakeRobot
from vla.deploy.robots.protocol import RobotError
from vla.deploy.safety.guard import GuardedRobot


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_command_that_is_not_a_number_never_reaches_a_robot(value):
    robot = FakeRobot()
    guarded = GuardedRobot(robot, 0.01)
    guarded.send(np.ones(4))
    with pytest.raises(ValueError, match=r"not a number in \['joint_2'\]"):
        guarded.send(np.array([1, 1, value, 1]))
    guarded.hold()
    assert robot.names() == ["send", "hold"]
    np.testing.assert_array_equal(robot.calls[-1][2], np.ones(4))


class Hangs(FakeRobot):
    """Comes back from a command late; the stop after that fails once."""

    def __init__(self) -> None:
        super().__init__()
        self.sends, self.goes_on, self.stops = threading.Event(), threading.Event(), 0

    def send(self, command: np.ndarray) -> None:
        self.sends.set()
        self.goes_on.wait(5.0)
        super().send(command)

    def stop(self) -> None:
        self.stops += 1
        if self.stops == 2:
            raise RobotError("the bus is busy")
        super().stop()


def test_a_command_that_comes_out_after_a_stop_is_stopped_until_that_works():
    robot = Hangs()
    guarded = GuardedRobot(robot, 0.01)

    def send() -> None:
        with pytest.raises(RobotError):
            guarded.send(np.ones(4))

    thread = threading.Thread(target=send)
    thread.start()
    robot.sends.wait(5.0)
    guarded.stop()
    robot.goes_on.set()
    thread.join()
    assert robot.names() == ["stop", "send"] and guarded.owes_stop
    guarded.stop()
    guarded.stop()
    assert robot.names() == ["stop", "send", "stop"] and not guarded.owes_stop
