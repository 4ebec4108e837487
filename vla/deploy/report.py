"""RunReport: how a run went, and the counting that leads to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np


class Ending(StrEnum):
    """Why a run ended."""

    DONE = "done"
    """The task is solved."""
    TIME = "time is up"
    EMERGENCY_STOP = "emergency stop"
    HELD_TOO_LONG = "held too long"
    OUT_OF_LIMITS = "out of limits"
    ROBOT_LOST = "robot lost"
    WATCHDOG = "stopped by the watchdog"
    CRASHED = "the control loop failed"


class Reason(StrEnum):
    """Why the robot was held for a period."""

    STARTING = "waiting for the first chunk"
    LATE = "no frame of any chunk is due"
    CHUNK = "unusable chunk"
    OBSERVATION = "unusable observation"
    ROBOT = "the robot does not answer"
    RECORDING = "the recording failed"
    BEHIND = "the control loop came too late"


@dataclass(frozen=True)
class RunReport:
    """How a run went.

    Attributes:
        ending: Why it ended.
        detail: In words.
        seconds: It took.
        periods: Control periods that it had, missed ones included.
        missed_deadlines: Periods that the loop came too late for, or whose cycle ended after them.
        sent: Commands sent.
        held: Periods in which the robot was held, by reason.
        clipped: Commands changed by limits, by channel.
        chunks: Chunks that were played.
        refused_chunks: Chunks that came too late, were unusable, or asked for before a gap.
        inference_ms: Time to compute a chunk: median, p95 and max, in milliseconds.
        delay_periods: Periods from asking for a chunk to having it: median, p95 and max.
        watchdog_trips: Times that the watchdog held or stopped the robot.
        recording: Folder of the recording.
        dataset: The LeRobotDataset that it became.
        problems: What else went wrong.
        speed: Fraction of full speed.
    """

    ending: Ending
    detail: str
    seconds: float
    periods: int
    missed_deadlines: int
    sent: int
    held: Mapping[str, int]
    clipped: Mapping[str, int]
    chunks: int
    refused_chunks: int
    inference_ms: Mapping[str, float]
    delay_periods: Mapping[str, float]
    watchdog_trips: int = 0
    recording: Path | None = None
    dataset: Path | None = None
    problems: tuple[str, ...] = ()
    speed: float = 1.0

    @property
    def missed_share(self) -> float:
        """Share of periods whose deadline was missed."""
        return self.missed_deadlines / max(self.periods, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        paths = {name: getattr(self, name) for name in ("recording", "dataset")}
        told = {name: path and str(path) for name, path in paths.items()}
        return asdict(self) | told | {"missed_share": self.missed_share}


@dataclass
class Tally:
    """What is counted while a run goes on; as in `RunReport`."""

    periods: int = 0
    missed_deadlines: int = 0
    sent: int = 0
    chunks: int = 0
    refused_chunks: int = 0
    held: Counter[str] = field(default_factory=Counter)
    clipped: Counter[str] = field(default_factory=Counter)
    inference_s: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    def report(self, ending: Ending, detail: str, seconds: float, *more: Any) -> RunReport:
        """The report of what was counted; `more` are the fields from `watchdog_trips` on."""
        counts = self.periods, self.missed_deadlines, self.sent, dict(self.held), dict(self.clipped)
        chunks = self.chunks, self.refused_chunks
        times = spread(np.array(self.inference_s) * 1e3), spread(np.array(self.delays))
        return RunReport(ending, detail, seconds, *counts, *chunks, *times, *more)


def spread(values: np.ndarray) -> dict[str, float]:
    """Median, p95 and max; empty where there is nothing."""
    if not len(values):
        return {}
    median, p95, largest = np.quantile(values, (0.5, 0.95, 1.0))
    return {"median": float(median), "p95": float(p95), "max": float(largest)}
