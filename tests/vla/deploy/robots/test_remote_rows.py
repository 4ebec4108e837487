"""What a robot behind openpi's protocol is told, in the numbers of its own rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rvq_action.data.rows import RowMapping
from tests.vla.deploy.conftest import SIZE
from tests.vla.deploy.robots.test_remote import KEYS, ask, robot, rows, sight, visit  # noqa: F401
from vla.deploy.policies.wire import unpack
from vla.deploy.robots.protocol import RobotError
from vla.deploy.robots.remote import RemoteRobot
from vla.deploy.server.access import Address

SENT = np.array([1, 2, 3, 4, 5, 0.5])


def test_a_robot_with_numbers_that_no_term_writes_is_refused():
    """It would be told NaN in their place."""
    partial = RowMapping(replace(rows().mapping, action=rows().mapping.action[:1]))
    with pytest.raises(ValueError, match=r"nothing of \['joint_5'\] of its actions"):
        RemoteRobot(partial, 20.0, KEYS, {"front": SIZE}, Address(port=0))


def test_a_command_that_is_no_number_in_its_row_is_not_sent(robot):  # noqa: F811
    """Finite as it was checked, and not in the robot's float32."""
    with visit(robot) as socket:
        socket.recv()
        ask(robot, socket, sight(0))
        with pytest.raises(RobotError, match=r"no number for \['joint_1'\]"):
            robot.send(SENT * [1, 1e39, 1, 1, 1, 1])
        robot.hold(SENT)
        np.testing.assert_allclose(unpack(socket.recv())["actions"], [[1, 2, 3, 4, 5, 50]])


def test_a_robot_that_can_be_told_no_place_of_its_own_is_refused_what_it_asks(robot):  # noqa: F811
    with visit(robot) as socket:
        socket.recv()
        ask(robot, socket, sight(0))
        robot._guest.fetched(SENT * 1e39)
        with pytest.raises(RobotError):
            robot.stop()
        assert socket.recv() == "The run is over."
