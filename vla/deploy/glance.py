"""glance: what a robot shows, connected for that moment alone. Nothing is sent to it."""

from __future__ import annotations

from vla.deploy.robots.protocol import Robot, RobotObservation
from vla.deploy.safety.estop import EmergencyStop, by_signal
from vla.deploy.safety.guard import GuardedRobot


def glance(robot: Robot) -> RobotObservation:
    """Look once; the robot is let go of however that ends, by a signal, too.

    Raises:
        RobotError: It cannot be reached, or does not answer.
        KeyboardInterrupt: A signal came.
    """
    stop, guarded = EmergencyStop(), GuardedRobot(robot, 1 / robot.description.rate)
    with by_signal(stop):
        try:
            with stop.interrupting():
                guarded.connect()
                return guarded.observe()
        finally:
            guarded.disconnect()
