"""Period: a control period of a run. They begin on a grid of the clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vla.deploy.clock import Clock

EPSILON = 1e-9


@dataclass(frozen=True)
class Period:
    """One of them.

    Attributes:
        clock: The clock.
        origin: When the first one began [s].
        length: Of each [s].
        number: From 0.
    """

    clock: Clock
    origin: float
    length: float
    number: int = 0

    @classmethod
    def first(cls, clock: Clock, length: float) -> Period:
        """It begins now."""
        return cls(clock, clock.now(), length)

    @property
    def elapsed(self) -> float:
        """From the first one's begin to this one's [s]."""
        return self.number * self.length

    @property
    def begin(self) -> float:
        """When it begins [s]."""
        return self.origin + self.elapsed

    @property
    def is_past(self) -> bool:
        """Whether another one has passed since its end."""
        return self.latest().number > self.number + 1

    def next(self) -> Period:
        return replace(self, number=self.number + 1)

    def latest(self) -> Period:
        """The one that it is by now; itself where it has not begun yet."""
        passed = int((self.clock.now() - self.origin) / self.length + EPSILON)
        return replace(self, number=max(self.number, passed))
