"""Robot: the one protocol that every robot is driven by.

Commands and states are [D] in the channels of the robot's layout: physical units, absolute, as the
policy's tokenizer reads and writes them. What a robot's motors want is the robot's own business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rvq_action.data.mapping import Mapping as ChannelMapping
from rvq_action.layout import ActionLayout
from vla.deploy.robots.measured import check_measured
from vla.deploy.safety.limit_table import LimitTable
from vla.deploy.safety.limits import Limits
from vla.images import Image


class RobotError(RuntimeError):
    """A robot that does not answer, or answers nonsense."""


@dataclass(frozen=True)
class RobotObservation:
    """What a robot saw, and knew of itself, at one moment.

    Attributes:
        time: Of the oldest part of it, on the monotonic clock of the loop [s].
        proprio: float32 [D] physical units; NaN where the robot does not know.
        images: Camera -> uint8 [H, W, 3] RGB.
    """

    time: float
    proprio: np.ndarray
    images: Mapping[str, Image]


@dataclass(frozen=True)
class RobotDescription:
    """What must be known of a robot before it is driven.

    Attributes:
        embodiment: Its name, under which its normalisation is found.
        layout: The channels of its commands and its state.
        rate: Commands per second [Hz].
        cameras: Name -> (H, W).
        limits: What it may be told.
        live_cameras: Whether no two pictures are ever the same, as of every real camera; those of a
            simulator may be.
    """

    embodiment: str
    layout: ActionLayout
    rate: float
    cameras: Mapping[str, tuple[int, int]]
    limits: Limits = field(default_factory=Limits)
    live_cameras: bool = True

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ValueError(f"rate must be a positive number of commands a second: {self.rate}.")
        LimitTable.build(self.limits, self.layout)

    @classmethod
    def mapped(
        cls,
        mapping: ChannelMapping,
        rate: float,
        cameras: Mapping[str, tuple[int, int]],
        limits: Limits | None = None,
        live_cameras: bool = True,
    ) -> RobotDescription:
        """Of a robot whose numbers a mapping reads.

        Raises:
            ValueError: As for limits that do not fit the layout; or they limit positions that the
                mapping does not read.
        """
        told = mapping.embodiment, mapping.layout, rate, cameras, limits or Limits()
        description = cls(*told, live_cameras)
        check_measured(description.limits, mapping)
        return description


class Robot(Protocol):
    """A robot, simulated, recorded, far away or real."""

    @property
    def description(self) -> RobotDescription: ...

    def connect(self) -> None:
        """Make it ready to be driven; it stands still.

        Raises:
            RobotError: It cannot be reached, or is not calibrated.
        """
        ...

    def observe(self) -> RobotObservation:
        """What it sees now.

        Raises:
            RobotError: It does not answer.
        """
        ...

    def send(self, command: np.ndarray) -> None:
        """Command it, for one period.

        Args:
            command: float64 [D], finite and within its limits.

        Raises:
            RobotError: It does not answer.
        """
        ...

    def hold(self, command: np.ndarray | None) -> None:
        """Keep it where it is, under power; it may be commanded again.

        Args:
            command: [D] that keeps it where it was last told to be, its velocities 0; None where it
                has not been told anything: then it stays where it stood when it was first held.

        Raises:
            RobotError: It does not answer, or nobody knows where that is.
        """
        ...

    def stop(self) -> None:
        """End the motion for good; nothing is sent after it until it is connected again.

        It stays where it was last told to be, however far it is from there, or where it stands.
        Called from any thread, even while another call has not come back.

        Raises:
            RobotError: It could not be stopped.
        """
        ...

    def disconnect(self) -> None:
        """Let go of it. A second call does nothing."""
        ...
