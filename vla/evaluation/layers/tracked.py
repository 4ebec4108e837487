"""TrackedRobot: a robot whose progress is followed at every command."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vla.deploy.robots.protocol import Robot, RobotDescription, RobotObservation
from vla.evaluation.progress.tracker import ProgressTracker


class TrackedRobot:
    """Passes everything on.

    Args:
        robot: Who moves.
        tracker: Who follows it, where the robot tells how far it is; None otherwise.
        now: The time of the loop.
    """

    def __init__(
        self, robot: Robot, tracker: ProgressTracker | None, now: Callable[[], float]
    ) -> None:
        self.robot, self.tracker, self._now = robot, tracker, now
        self._moved_at = math.inf
        self._signals: Callable[[], dict[str, float]] | None = getattr(robot, "signals", None)

    @property
    def description(self) -> RobotDescription:
        return self.robot.description

    @property
    def knows(self) -> bool:
        """Whether the robot can say that its task is solved."""
        return hasattr(self.robot, "is_solved")

    @property
    def is_solved(self) -> bool:
        """Whether it is; never, where it cannot say so."""
        return bool(getattr(self.robot, "is_solved", False))

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to do: solved, or a recording that is over."""
        return self.is_solved or bool(getattr(self.robot, "is_over", False))

    @property
    def moving_s(self) -> float:
        """The time since its first command [s]; -inf where there was none."""
        return self._now() - self._moved_at

    def connect(self) -> None:
        self.robot.connect()

    def observe(self) -> RobotObservation:
        return self.robot.observe()

    def send(self, command: np.ndarray) -> None:
        self.robot.send(command)
        self._moved_at = min(self._moved_at, self._now())
        self._follow()

    def hold(self, command: np.ndarray | None) -> None:
        self.robot.hold(command)
        self._follow()

    def stop(self) -> None:
        self.robot.stop()

    def disconnect(self) -> None:
        self.robot.disconnect()

    def _follow(self) -> None:
        if self.tracker is not None and self._signals is not None:
            self.tracker.update(self._signals())
