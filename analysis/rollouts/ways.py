"""Reading what `rvq-vla schedules` leaves: ways to play chunks, from the same starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.bootstrap import Estimate


@dataclass(frozen=True)
class Way:
    """What one way to play chunks came to.

    Attributes:
        name: Of the mode.
        starts: Attempts.
        solved: Those that were solved.
        success: Their share, 0 to 1.
        missed: Share of control periods without a new command, 0 to 1.
        jump: Where a new chunk begins; None where none did.
        ratio: The same over that of the asynchronous way; None where that was not attempted.
        inside: The same within chunks; None where nothing was long enough.
        seconds: An attempt took.
    """

    name: str
    starts: int
    solved: int
    success: Estimate
    missed: Estimate
    jump: Estimate | None
    ratio: Estimate | None
    inside: float | None
    seconds: Estimate

    @classmethod
    def from_dict(cls, name: str, row: Mapping[str, Any]) -> Way:
        """Of a mode in schedules.json."""
        share = row["success"]
        success = Estimate(share["success"], share["low"], share["high"])
        missed, jump, ratio, seconds = (
            None if row.get(key) is None else Estimate(row[key], *row[f"{key}_ci"])
            for key in ("missed", "jump", "jump_ratio", "seconds")
        )
        if missed is None or seconds is None:
            raise KeyError("missed, seconds")
        told = name, row["starts"], share["solved"], success, missed, jump, ratio
        return cls(*told, row["inside"], seconds)


@dataclass(frozen=True)
class WaysRun:
    """All ways, from the same starts.

    Attributes:
        name: Of the folder.
        tasks: That were attempted.
        latency_s: Of a chunk, and of one that is guided [s]; None where time was real.
        ways: At least one.
    """

    name: str
    tasks: tuple[str, ...]
    latency_s: tuple[float, float] | None
    ways: list[Way]


def read_ways(folder: Path, data: Mapping[str, Any]) -> WaysRun:
    """What schedules.json says; a KeyError or TypeError where it is damaged."""
    latency = data["used_latency_s"]
    tasks = dict.fromkeys(row["task"] for row in data["attempts"])
    ways = [Way.from_dict(name, row) for name, row in data["modes"].items()]
    return WaysRun(folder.resolve().name, tuple(tasks), latency and tuple(latency), ways)
