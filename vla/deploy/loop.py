"""The control loop: a cycle at every period of a monotonic clock, until something ends it.

A cycle is that of the period it is when it begins. One that ends after its period has missed its
deadline; so have the periods that passed meanwhile, or while the process slept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vla.deploy.clock import Clock
from vla.deploy.cycle import Cycle, Over
from vla.deploy.period import EPSILON, Period
from vla.deploy.report import Ending
from vla.deploy.safety.estop import EmergencyStop
from vla.deploy.safety.watchdog import WatchdogThread


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
        tally = self.cycle.tally
        due = Period.first(self.clock, self.cycle.limiter.period)
        while True:
            begun = due.latest()
            tally.missed_deadlines += begun.number - due.number
            tally.periods = begun.number
            self._check_end(begun)
            if self.watchdog is not None:
                self.watchdog.watchdog.seen(self.clock.now())
            tally.periods += 1
            acted = self.cycle.run(begun)
            ended = acted.latest()
            tally.missed_deadlines += ended.number - begun.number
            due = ended if ended.number > acted.number else acted.next()
            tally.periods = due.number
            if self.is_done():
                raise Over(Ending.DONE, "")
            self.clock.wait(due.begin, self.stop.pressed)

    def _check_end(self, period: Period) -> None:
        if self.stop.pressed.is_set():
            raise Over(Ending.EMERGENCY_STOP, self.stop.reason)
        if self.cycle.robot.is_stopped:
            raise Over(Ending.WATCHDOG, "The control loop had been away for too long.")
        if period.elapsed >= self.cycle.settings.seconds - EPSILON:
            raise Over(Ending.TIME, "")
