"""Watchdog: holds the robot when the control loop does not come by, and stops it in the end.

It has a thread of its own, which neither the loop nor the inference can keep from running.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal

from vla.deploy.clock import Clock, MonotonicClock

logger = logging.getLogger(__name__)
Verdict = Literal["fine", "hold", "stop"]


class Watchdog:
    """Says what to do by the time that has passed since the loop last came by.

    Args:
        hold_after: Without a sign of the loop the robot is held from here on [s].
        stop_after: And stopped from here on [s].
        now: The time.
    """

    def __init__(self, hold_after: float, stop_after: float, now: float) -> None:
        self.hold_after, self.stop_after = hold_after, stop_after
        self._seen = now

    def seen(self, now: float) -> None:
        """The loop has come by."""
        self._seen = now

    def verdict(self, now: float) -> Verdict:
        missing = now - self._seen
        if missing >= self.stop_after:
            return "stop"
        return "hold" if missing >= self.hold_after else "fine"


class WatchdogThread:
    """Acts on a watchdog's verdicts.

    Args:
        watchdog: The watchdog.
        hold: Holds the robot; called once each time the loop goes missing.
        stop: Stops it; the thread ends then.
        clock: The clock.
    """

    def __init__(
        self,
        watchdog: Watchdog,
        hold: Callable[[], None],
        stop: Callable[[], None],
        clock: Clock | None = None,
    ) -> None:
        self.watchdog, self.trips = watchdog, 0
        self._hold, self._stop = hold, stop
        self._clock = clock or MonotonicClock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> WatchdogThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(self.watchdog.stop_after)

    def _run(self) -> None:
        before: Verdict = "fine"
        while not self._end.is_set():
            verdict = self.watchdog.verdict(self._clock.now())
            if verdict != before and verdict != "fine":
                self._act(verdict)
            if verdict == "stop":
                return
            before = verdict
            self._clock.wait(self._clock.now() + self.watchdog.hold_after / 4, self._end)

    def _act(self, verdict: Verdict) -> None:
        self.trips += 1
        try:
            (self._hold if verdict == "hold" else self._stop)()
        except Exception:
            logger.exception("The watchdog could not %s the robot.", verdict)
        logger.error("The control loop does not come by; the watchdog says: %s.", verdict)
