"""Watchdog: holds the robot when the control loop does not come by, and stops it in the end.

It has a thread of its own, which a loop or an inference that waits or hangs does not keep from
running. Python's lock it shares with them: a call of C that keeps the lock keeps the watchdog
waiting for as long, and the emergency stop, too. A policy in a process of its own (`rvq-vla serve`)
cannot do that.
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
        hold: Holds the robot; called each time the loop goes missing.
        stop: Stops it; the thread ends then.
        clock: The clock.
        is_owed: Says whether somebody else's stop has failed.

    A call that fails is made again and again, until it works or the loop is back.
    """

    def __init__(
        self,
        watchdog: Watchdog,
        hold: Callable[[], None],
        stop: Callable[[], None],
        clock: Clock | None = None,
        is_owed: Callable[[], bool] = lambda: False,
    ) -> None:
        self.watchdog, self.trips = watchdog, 0
        self._hold, self._stop, self._is_owed = hold, stop, is_owed
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
        failure: Exception | None = None
        while not self._end.is_set():
            verdict = self._verdict()
            if verdict != before:
                before, failure = verdict, self._trip(verdict)
            elif failure is not None:
                failure = self._act(verdict)
            if verdict == "stop" and failure is None:
                return
            self._clock.wait(self._clock.now() + self.watchdog.hold_after / 4, self._end)

    def _verdict(self) -> Verdict:
        return "stop" if self._is_owed() else self.watchdog.verdict(self._clock.now())

    def _trip(self, verdict: Verdict) -> Exception | None:
        """Act for the first time, and say so."""
        if verdict == "fine":
            return None
        self.trips += 1
        failure = self._act(verdict)
        logger.error("The watchdog had to %s the robot.", verdict)
        if failure is not None:
            logger.error("It could not yet, and tries again.", exc_info=failure)
        return failure

    def _act(self, verdict: Verdict) -> Exception | None:
        """What went wrong, None where nothing did."""
        try:
            (self._hold if verdict == "hold" else self._stop)()
        except Exception as error:
            return error
        return None
