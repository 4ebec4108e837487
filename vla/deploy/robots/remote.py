"""RemoteRobot: a robot whose own program is an openpi client.

To that program this is a policy server: it sends what it sees and gets `{"actions": [1, W]}`. The
policy, the limits and the recording are here; what it gets is what the control loop lets through,
one command for every period. Configure its action horizon to 1.

    robot's program          RemoteRobot           control loop
    observation   ------->   kept      <--------   observe
    waits                              <--------   send or hold
    actions       <-------   answered
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import numpy as np

from rvq_action.data.rows import RowMapping
from vla.deploy.robots.protocol import RobotDescription, RobotError, RobotObservation
from vla.deploy.robots.remote_guest import GONE, Guest, RemoteKeys
from vla.deploy.robots.remote_server import OVER, Answer, RobotServer
from vla.deploy.safety.estop import EmergencyStop
from vla.deploy.safety.limits import Limits
from vla.deploy.server.access import Address
from vla.deploy.server.stop_call import stop_pages

logger = logging.getLogger(__name__)


class RemoteRobot:
    """Waits for one robot to come by.

    Args:
        rows: The mapping of its dataset.
        rate: Commands per second, which its program asks for.
        keys: Of its messages.
        sizes: Camera -> (H, W).
        address: Where it is listened for.
        limits: What it may be told.
        patience: How long to wait for it to come [s].
        now: The time of the loop.
        stop: That of the run; `GET /stop` with the key presses it.

    Raises:
        ValueError: The mapping leaves numbers out that the robot is told, or does not say their
            order; or a camera has no size or no key.
    """

    def __init__(
        self,
        rows: RowMapping,
        rate: float,
        keys: RemoteKeys,
        sizes: Mapping[str, tuple[int, int]],
        address: Address,
        limits: Limits | None = None,
        patience: float = 60.0,
        now: Callable[[], float] = time.monotonic,
        stop: EmergencyStop | None = None,
    ) -> None:
        if set(sizes) != set(keys.cameras):
            raise ValueError(f"Give the size and the key of each camera: {sizes}, {keys.cameras}.")
        mapping = rows.mapping
        if missing := rows.unwritten:
            raise ValueError(
                f"The mapping of {mapping.embodiment!r} says nothing of {missing} of its actions, "
                "which the robot is told, too. Give each a term under `action`, or use the mapping "
                "of a dataset whose actions are just what this robot takes."
            )
        self.description = RobotDescription.mapped(mapping, rate, dict(sizes), limits)
        self._patience, self._keys = patience, keys
        self._guest = Guest(rows, keys, now)
        metadata = {"embodiment": mapping.embodiment, "rate": rate, "action_horizon": 1}
        pages = stop_pages(stop) if stop else None
        self._server = RobotServer(address, metadata, self._guest, 1 / rate, now, pages)

    @property
    def port(self) -> int:
        """That is listened on."""
        return self._server.port

    def connect(self) -> None:
        """Wait for the robot's first observation, and say so.

        Raises:
            RobotError: None has come in time, or none that could be taken.
        """
        self._server.start()
        logger.info(
            "Waiting at %s for the robot's program, an openpi client that sends %s; for %g s at "
            "most, Ctrl-C ends it.",
            self._server.place,
            self._keys.wanted,
            self._patience,
        )
        if not self._guest.wait(self._patience):
            told = self._missed()
            self.disconnect()
            raise RobotError(told)
        logger.info("The robot's program is there.")

    def _missed(self) -> str:
        """Why there is no first observation."""
        place, problem = self._server.place, self._server.problem
        if problem:
            return (
                f"A robot's program has come by at {place}, but nothing that it sent in "
                f"{self._patience:g} s could be taken: {problem}."
            )
        return (
            f"No robot has come by at {place} for {self._patience:g} s. Start its program with "
            "that address, or wait longer (`patience_s` of its file)."
        )

    def observe(self) -> RobotObservation:
        """What it sent last; how old that is its time says."""
        return self._guest.look()

    def send(self, command: np.ndarray) -> None:
        """Answer what it has asked, or what it asks next within the period."""
        self._tell(self._guest.answer(command))

    def hold(self, command: np.ndarray | None) -> None:
        """Tell it to stay where it was last told to be, or where it stood when it was first held.

        Raises:
            RobotError: Told nothing, it has gone, or nobody knows where it stands.
        """
        self._tell(self._rest() if command is None else self._guest.answer(command))

    def stop(self) -> None:
        """Hold it with one last answer, and refuse whatever it asks from then on.

        The answer is what it fetched last, its velocities 0; where it fetched nothing it stays.
        """
        last = None
        try:
            last = self._rest() if self._guest.is_there else None
        finally:
            self._server.refuse(OVER, last)

    def disconnect(self) -> None:
        """Let go of it, once it has fetched its last answer or has had two periods to do so."""
        self._server.close(2 / self.description.rate)

    def _tell(self, answer: Answer) -> None:
        self._guest.is_driven = True
        self._server.answer(answer)

    def _rest(self) -> Answer:
        if (answer := self._guest.rest()) is not None:
            return answer
        if not self._guest.is_there:
            raise RobotError(GONE)
        raise RobotError("The robot does not say where it stands, and was told nothing yet.")
