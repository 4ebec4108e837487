"""DeploymentSettings: how a policy drives a robot."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vla.deploy.playing.schedule_settings import ScheduleSettings

WATCHDOG_PERIODS, WATCHDOG_S = 2.0, 0.1


@dataclass(frozen=True)
class SafetySettings:
    """When the robot is held, and when it is stopped; all in seconds.

    Attributes:
        stale_observation_s: Age of an observation from which it is not acted on.
        frozen_camera_s: For which a live camera may show the same picture.
        stale_chunk_s: Age of the observation behind a chunk from which the chunk is not taken. A
            robot goes on by the chunk before for no longer than that after it has asked.
        start_timeout_s: The first chunk may take so long.
        stop_after_s: A robot that has been held for so long is stopped.
        watchdog_s: The control loop may be away for so long before the robot is held without it;
            two periods, but at least a tenth of a second, where None.
    """

    stale_observation_s: float = 0.25
    frozen_camera_s: float = 0.5
    stale_chunk_s: float = 2.0
    start_timeout_s: float = 60.0
    stop_after_s: float = 2.0
    watchdog_s: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be a positive number of seconds, got {value}.")

    def watchdog(self, period: float) -> float:
        """The watchdog's patience for a control period."""
        return self.watchdog_s or max(WATCHDOG_PERIODS * period, WATCHDOG_S)


def check_speed(speed: float) -> None:
    """Refuse what is no fraction of full speed.

    Raises:
        ValueError: It is none.
    """
    if not 0 < speed <= 1:
        raise ValueError(f"speed is a fraction of full speed, above 0 and up to 1: {speed}.")


def speed_in_words(speed: float) -> str:
    """Full speed, or low speed and how low."""
    return "full speed" if speed == 1 else f"low speed, {speed:g} of full"


@dataclass(frozen=True)
class DeploymentSettings:
    """One run.

    Attributes:
        instruction: What the robot is to do.
        seconds: After which the run is over.
        schedule: How chunks follow one another.
        safety: When the robot is held and stopped.
        speed: Fraction of full speed; below 1 is low-speed mode: chunks are played so much slower,
            and limits are as if time went so much slower.
        record: Folder of the recording, which must not exist; none where None.
        keys: Whether space, q and Escape stop the robot, where there is a terminal.
    """

    instruction: str
    seconds: float = math.inf
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    speed: float = 1.0
    record: Path | None = None
    keys: bool = True

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise ValueError("The instruction is empty. Say what to do.")
        if not self.seconds > 0:
            raise ValueError(f"seconds must be positive, got {self.seconds}.")
        check_speed(self.speed)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for the record."""
        told = asdict(self) | {"record": self.record and str(self.record)}
        return told | {"seconds": self.seconds if math.isfinite(self.seconds) else None}
