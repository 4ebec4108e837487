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
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rvq_action.data.rows import RowMapping
from vla.deploy.estop import EmergencyStop
from vla.deploy.limits import Limits
from vla.deploy.rates import rate_channels
from vla.deploy.robots.protocol import RobotDescription, RobotError, RobotObservation
from vla.deploy.robots.remote_server import OVER, RobotServer
from vla.deploy.server.access import Address
from vla.deploy.server.stop_call import stop_pages

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteKeys:
    """Where things are in the robot's messages.

    Attributes:
        state: The key of its state: an array of the mapping's one feature, or arrays by feature.
        cameras: Camera -> its key.
    """

    state: str
    cameras: Mapping[str, str]


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
        self.description = RobotDescription.mapped(mapping, rate, dict(sizes), limits)
        self._rows, self._keys, self._now, self._patience = rows, keys, now, patience
        self._rates = rate_channels(mapping.layout)
        self._news = threading.Condition()
        self._seen: RobotObservation | None = None
        metadata = {"embodiment": mapping.embodiment, "rate": rate, "action_horizon": 1}
        pages = stop_pages(stop) if stop else None
        self._server = RobotServer(address, metadata, self._receive, self._forget, pages)

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
            self._wanted,
            self._patience,
        )
        with self._news:
            has_come = self._news.wait_for(lambda: self._seen is not None, self._patience)
        if not has_come:
            told = self._missed()
            self.disconnect()
            raise RobotError(told)
        logger.info("The robot's program is there.")

    @property
    def _wanted(self) -> list[str]:
        """The keys of its messages."""
        return [self._keys.state, *self._keys.cameras.values()]

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
        with self._news:
            if self._seen is None:
                raise RobotError("The robot has gone.")
            return self._seen

    def send(self, command: np.ndarray) -> None:
        """Answer what it has asked, or what it asks next within the period."""
        self._server.answer(self._written(command))

    def hold(self, command: np.ndarray | None) -> None:
        """Tell it to stay where it was last told to be, or where it stands."""
        self.send(self._standing(self.observe()) if command is None else command)

    def stop(self) -> None:
        """Hold it with one last answer, and refuse whatever it asks from then on."""
        with self._news:
            seen = self._seen
        last = None
        try:
            if seen is not None:
                last = self._written(self._standing(seen))
        finally:
            self._server.refuse(OVER, last)

    def disconnect(self) -> None:
        """Let go of it, once it has fetched its last answer or has had two periods to do so."""
        self._server.close(2 / self.description.rate)

    def _written(self, command: np.ndarray) -> dict[str, Any]:
        """A command [D] as an answer: float32 [1, W], in its dataset's columns."""
        written = self._rows.write_actions(command)
        row = np.concatenate([written[feature] for feature in written])
        return {"actions": row[None].astype(np.float32)}

    def _standing(self, seen: RobotObservation) -> np.ndarray:
        """The command that keeps it where it says it is.

        Raises:
            RobotError: It does not say that of every channel.
        """
        command = np.where(self._rates, 0.0, seen.proprio)
        if not np.isfinite(command).all():
            raise RobotError("The robot does not say where it stands, and was told nothing yet.")
        return command

    def _receive(self, message: Any) -> None:
        """Keep an observation.

        Raises:
            ValueError: It lacks something; the robot is told.
        """
        if not isinstance(message, dict):
            raise ValueError("an observation is a map")
        if missing := [key for key in self._wanted if key not in message]:
            raise ValueError(f"the observation lacks {missing}; it has {sorted(map(str, message))}")
        proprio = self._rows.read_proprio(message[self._keys.state]).astype(np.float32)
        if proprio.shape != self._rates.shape:
            raise ValueError(f"one state is wanted, got an array {list(proprio.shape)}")
        images = {n: np.asarray(message[key]) for n, key in self._keys.cameras.items()}
        with self._news:
            self._seen = RobotObservation(self._now(), proprio, images)
            self._news.notify_all()

    def _forget(self) -> None:
        with self._news:
            self._seen = None
