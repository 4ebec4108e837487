"""GuardedRobot: a robot that several threads may stop, and that stays stopped."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

import numpy as np

from vla.deploy.robots.protocol import Robot, RobotObservation
from vla.deploy.safety.rates import rate_channels

logger = logging.getLogger(__name__)


class Stopped(RuntimeError):
    """The robot has been stopped; nothing more may be sent."""


class GuardedRobot:
    """One robot, one call at a time.

    The control loop commands it; the watchdog and the emergency stop may hold or stop it at any
    time. Neither waits for ever for a command: where one hangs, they go ahead beside it. Stops wait
    for one another: a robot never gets two at a time.

    Args:
        robot: The robot.
        patience: How long [s] to wait for a call of another thread.

    Attributes:
        stopped: Set when it has been stopped.
        owes_stop: Whether a stop has failed, and none has worked since.
        interventions: How often another thread has held it.
    """

    def __init__(self, robot: Robot, patience: float) -> None:
        self.robot, self.patience = robot, patience
        self._rates = rate_channels(robot.description.layout)
        self._last: np.ndarray | None = None
        self._turn = threading.Lock()
        self._ending = threading.Lock()
        self.stopped, self.interventions = threading.Event(), 0
        self._has_ended = self.owes_stop = False

    @property
    def is_stopped(self) -> bool:
        return self.stopped.is_set()

    def connect(self) -> None:
        self.robot.connect()

    def disconnect(self) -> None:
        self.robot.disconnect()

    def observe(self) -> RobotObservation:
        with self._turn:
            return self.robot.observe()

    def send(self, command: np.ndarray) -> None:
        """Command it.

        Raises:
            ValueError: The command is not finite; it has not been sent.
            Stopped: It has been stopped.
        """
        self._check(command)
        with self._commanding(), self._turn:
            if self.is_stopped:
                raise Stopped("The robot has been stopped.")
            self._last = command
            self.robot.send(command)

    def stands(self, command: np.ndarray) -> None:
        """It has been moved: what keeps it where it is now."""
        with self._turn:
            self._last = command

    def hold(self) -> None:
        """Keep it where it was last told to be."""
        with self._commanding(), self._turn:
            self._hold()

    def hold_now(self) -> None:
        """The same from another thread, beside a call that hangs if need be."""
        self.interventions += 1
        with self._commanding():
            self._beside(self._hold)

    def stop(self) -> None:
        """End its motion for good, from any thread.

        A second call waits for the first one, and does nothing unless that failed.
        """
        with self._ending:
            self.stopped.set()
            if not self._has_ended:
                self._end()

    def _end(self) -> None:
        """Stop it, whatever it was told before; what fails is owed."""
        self._has_ended = False
        try:
            self._beside(self.robot.stop)
            self._has_ended = True
        finally:
            self.owes_stop = not self._has_ended

    def _hold(self) -> None:
        if not self.is_stopped:
            rest = None if self._last is None else np.where(self._rates, 0.0, self._last)
            self.robot.hold(rest)

    def _check(self, command: np.ndarray) -> None:
        """The last look at a command, however it was limited: motors take a NaN for a place."""
        wrong = ~np.isfinite(command)
        if wrong.any():
            names = np.asarray(self.robot.description.layout.names)[wrong].tolist()
            raise ValueError(f"The command is not a number in {names}; nothing was sent.")

    @contextlib.contextmanager
    def _commanding(self) -> Iterator[None]:
        """A command that hung comes out after a stop beside it, and undoes it: stop once more."""
        was_stopped = self.is_stopped
        try:
            yield
        finally:
            if self.is_stopped and not was_stopped:
                with self._ending:
                    self._end()

    def _beside(self, call: Callable[[], None]) -> None:
        has_turn = self._turn.acquire(timeout=self.patience)
        try:
            call()
        finally:
            if has_turn:
                self._turn.release()
            else:
                logger.error("The robot did not come back from a call; went ahead beside it.")
