"""What no robot is told, whoever asks for it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vla.deploy.conftest import FakeRobot
from vla.deploy.guard import GuardedRobot


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
