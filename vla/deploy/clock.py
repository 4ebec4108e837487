"""Clocks: the machine's own, and one that stands still until somebody waits."""

from __future__ import annotations

import time
from threading import Event
from typing import Protocol


class Clock(Protocol):
    """Monotonic time [s]."""

    @property
    def is_real(self) -> bool:
        """Whether it goes on by itself."""
        ...

    def now(self) -> float: ...

    def wait(self, until: float, wake: Event) -> None:
        """Return at a time, or sooner where the event is set."""
        ...


class MonotonicClock:
    """Time as it passes; `time.monotonic`, which no correction of the date ever moves."""

    is_real = True

    def now(self) -> float:
        return time.monotonic()

    def wait(self, until: float, wake: Event) -> None:
        wake.wait(max(until - self.now(), 0.0))


class SimulatedClock:
    """Time that passes by being waited for: a simulated robot needs no real one.

    Whatever is computed takes no time on it, so that a run is the same on every machine.
    """

    is_real = False

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def wait(self, until: float, wake: Event) -> None:
        self._now = max(self._now, until)
