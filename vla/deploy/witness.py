"""What happened in a control period, and whoever looks on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vla.deploy.playing.schedule import Due
from vla.deploy.robots.protocol import RobotObservation
from vla.deploy.safety.hold import Problem


@dataclass(frozen=True)
class Step:
    """What happened in one period.

    Attributes:
        time: When the period began that it acted in [s].
        observation: What was seen; None where there was nothing.
        due: What the policy asked for.
        sent: float64 [D] that was sent; None where the robot was held.
        clipped: Channels that limits changed.
        problem: Why it was held.
    """

    time: float
    observation: RobotObservation | None
    due: Due | None
    sent: np.ndarray | None
    clipped: tuple[str, ...]
    problem: Problem | None


class Witness(Protocol):
    """Whoever writes down what happens: `Recorder`. It must not keep the loop waiting."""

    @property
    def problem(self) -> str:
        """Why it cannot go on; empty where it can."""
        ...

    def step(self, step: Step) -> None: ...

    def event(self, time: float, kind: str, detail: str) -> None: ...
