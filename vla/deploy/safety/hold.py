"""Hold: since when the robot has been held, and whether that is too long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from vla.deploy.report import Reason
from vla.deploy.settings import SafetySettings

USUAL = (Reason.STARTING, Reason.LATE)
"""What holds a robot without anything being wrong: whoever plans stands still."""


class Problem(NamedTuple):
    """Why the robot is not moved."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass
class Hold:
    """Periods in a row in which the robot was held.

    A robot that waits for its first chunk and is well has only that time to answer for: what was
    wrong before is over.

    Attributes:
        since: When they began [s].
        trouble: Since when anything but the first chunk has been missing; None: nothing else is.
        told: Reasons that were told: each once, however they take turns.
        cause: The last problem that is not usual; where all were, the last one.
    """

    since: float
    trouble: float | None = None
    told: set[Reason] = field(default_factory=set)
    cause: Problem | None = None

    def goes_on(self, problem: Problem, now: float) -> bool:
        """Another period; whether its reason is a new one."""
        if problem.reason is Reason.STARTING:
            self.trouble = None
        elif self.trouble is None:
            self.trouble = now
        if self.cause is None or self.cause.reason in USUAL or problem.reason not in USUAL:
            self.cause = problem
        is_new = problem.reason not in self.told
        self.told.add(problem.reason)
        return is_new

    def is_too_long(self, now: float, safety: SafetySettings) -> bool:
        if self.trouble is None:
            return now - self.since >= safety.start_timeout_s
        return now - self.trouble >= safety.stop_after_s
