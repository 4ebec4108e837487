"""Guest: what is known of the robot whose program has come, for as long as its connection lasts.

Until the control loop answers for itself it is kept where it stands. From the first look at it on
nobody else is taken for it: one that comes back may stand anywhere.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rvq_action.data.rows import RowMapping
from vla.deploy.robots.protocol import RobotError, RobotObservation
from vla.deploy.robots.remote_server import Answer
from vla.deploy.robots.stance import Stance

GONE = "The robot has gone; one that comes back is not driven in this run."

DRIFT = 2e-4
"""By so much a robot's clock may be slower than ours."""


@dataclass(frozen=True)
class RemoteKeys:
    """Where things are in the robot's messages.

    Attributes:
        state: The key of its state: an array of the mapping's one feature, or arrays by feature.
        cameras: Camera -> its key.
        time: The key of the time [s] of what it saw, by any clock of its own that goes steadily;
            None where it does not say.
    """

    state: str
    cameras: Mapping[str, str]
    time: str | None = None

    @property
    def wanted(self) -> list[str]:
        """All that a message has to hold."""
        return [self.state, *self.cameras.values(), *([self.time] if self.time else [])]


class Guest:
    """The robot that is there; the `Host` of its program.

    Args:
        rows: The mapping of its dataset.
        keys: Of its messages.
        now: The time of the loop.

    Attributes:
        is_driven: Whether the control loop answers by now.
    """

    _seen: RobotObservation | None

    def __init__(self, rows: RowMapping, keys: RemoteKeys, now: Callable[[], float]) -> None:
        self._rows, self._keys, self._now = rows, keys, now
        self._news = threading.Condition()
        self.is_driven = self._is_known = False
        self._begin()

    def wait(self, patience: float) -> bool:
        """Whether it has said something after so many seconds."""
        with self._news:
            return self._news.wait_for(lambda: self.is_there, patience)

    @property
    def is_there(self) -> bool:
        return self._seen is not None

    def look(self) -> RobotObservation:
        """What it said last.

        Raises:
            RobotError: It has gone.
        """
        with self._news:
            if self._seen is None:
                raise RobotError(GONE)
            self._is_known = True
            return self._seen

    def answer(self, command: np.ndarray) -> Answer:
        """A command [D] as float32 [1, W], in its dataset's columns.

        Raises:
            RobotError: One of them would be no number.
        """
        with np.errstate(over="ignore"):
            written = self._rows.write_actions(command)
        row = np.concatenate([written[feature] for feature in written])
        if not np.isfinite(row).all():
            names = [name for feature in written for name in self._rows.columns[feature]]
            wrong = np.array(names)[~np.isfinite(row)].tolist()
            raise RobotError(f"The command has no number for {wrong}; nothing was sent.")
        return Answer(command, {"actions": row[None]})

    def rest(self) -> Answer | None:
        """What keeps it where it is; None where that is not known, or cannot be told."""
        command = self._stance.rest()
        if not self.is_there or not np.isfinite(command).all():
            return None
        with contextlib.suppress(RobotError):
            return self.answer(command)
        return None

    def receive(self, message: Any, since: float) -> None:
        """Keep an observation.

        Args:
            message: As it came.
            since: When it may have come at the earliest [s].

        Raises:
            ValueError: It lacks something; the robot is told.
        """
        if not isinstance(message, dict):
            raise ValueError("an observation is a map")
        if missing := [key for key in self._keys.wanted if key not in message]:
            raise ValueError(f"the observation lacks {missing}; it has {sorted(map(str, message))}")
        proprio = self._rows.read_proprio(message[self._keys.state]).astype(np.float32)
        if proprio.shape != (self._rows.mapping.layout.width,):
            raise ValueError(f"one state is wanted, got an array {list(proprio.shape)}")
        images = {n: np.asarray(message[key]) for n, key in self._keys.cameras.items()}
        time = self._sent(float(message[self._keys.time])) if self._keys.time else since
        with self._news:
            self._seen = RobotObservation(time, proprio, images)
            self._stance.saw(proprio)
            self._news.notify_all()

    def fetched(self, command: np.ndarray) -> None:
        self._stance.told(command)

    def gone(self) -> str:
        with self._news:
            self._begin()
            return GONE if self._is_known else ""

    def _begin(self) -> None:
        """Nothing is known of whoever comes."""
        self._seen = None
        self._stance = Stance(self._rows.mapping.layout)
        self._ahead, self._heard = math.inf, self._now()

    def _sent(self, told: float) -> float:
        """When by our clock something was sent: the quickest message so far took no time.

        Args:
            told: The same by the robot's.
        """
        if not math.isfinite(told):
            raise ValueError(f"the time {told} is not a number")
        now = self._now()
        drifted = self._ahead + DRIFT * (now - self._heard)
        self._ahead, self._heard = min(drifted, now - told), now
        return told + self._ahead
