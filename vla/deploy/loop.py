"""The control loop: a cycle at every period of a monotonic clock, until something ends it.

Periods begin on a grid. A cycle that ends after its period has missed its deadline; the periods
that passed meanwhile have missed theirs, and the next cycle is that of the period it is by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vla.deploy.clock import Clock
from vla.deploy.cycle import Cycle, Over
from vla.deploy.estop import EmergencyStop
from vla.deploy.report import Ending
from vla.deploy.watchdog import WatchdogThread

EPSILON = 1e-9


@dataclass
class ControlLoop:
    """Runs cycles.

    Attributes:
        cycle: What happens in a period.
        clock: Its time.
        stop: Ends it.
        is_done: Says whether the task is solved.
        watchdog: Looks whether the loop comes by.
    """

    cycle: Cycle
    clock: Clock
    stop: EmergencyStop
    is_done: Callable[[], bool] = lambda: False
    watchdog: WatchdogThread | None = None

    def run(self) -> Over:
        """Run until the end; why it came. What the robot does then is for the caller."""
        try:
            self._run()
        except Over as over:
            pressed = self.stop.pressed.is_set()
            return Over(Ending.EMERGENCY_STOP, self.stop.reason) if pressed else over
        raise AssertionError("unreachable")

    def _run(self) -> None:
        period = self.cycle.limiter.period
        tally, begin = self.cycle.tally, self.clock.now()
        number, trips = 0, 0
        while True:
            now = begin + number * period
            self._check_end(number * period)
            if self.watchdog is not None:
                self.watchdog.watchdog.seen(self.clock.now())
                if self.watchdog.trips != trips:
                    trips = self.watchdog.trips
                    self.cycle.rest()
            tally.periods = number + 1
            self.cycle.run(now)
            if self.is_done():
                raise Over(Ending.DONE, "")
            passed = int((self.clock.now() - begin) / period + EPSILON)
            tally.missed_deadlines += max(passed - number, 0)
            number = max(number + 1, passed)
            tally.periods = number
            self.clock.wait(begin + number * period, self.stop.pressed)

    def _check_end(self, elapsed: float) -> None:
        if self.stop.pressed.is_set():
            raise Over(Ending.EMERGENCY_STOP, self.stop.reason)
        if self.cycle.robot.is_stopped:
            raise Over(Ending.WATCHDOG, "The control loop had been away for too long.")
        if elapsed >= self.cycle.settings.seconds - EPSILON:
            raise Over(Ending.TIME, "")
