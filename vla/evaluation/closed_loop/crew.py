"""Crew: simulated robots, kept from attempt to attempt. To build one takes longer than an attempt.

A robot stays in front of its task as long as starts of that task are waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from vla.evaluation.closed_loop.starts import Start


class Closable(Protocol):
    """What holds something to be let go of."""

    def close(self) -> None: ...


R = TypeVar("R", bound=Closable)


class Crew(Generic[R]):
    """At most so many robots at a time.

    Args:
        build: Task -> a robot in front of it.
        size: Robots at a time.
    """

    def __init__(self, build: Callable[[str], R], size: int) -> None:
        self.build, self.size = build, size
        self.robots: list[R] = []
        self.idle: list[tuple[str, R]] = []

    def assign(self, waiting: list[Start]) -> tuple[Start, R] | None:
        """Take a start out of those that wait, and a robot for it; None where none is free."""
        tasks = [task for task, _ in self.idle]
        start = next((start for start in waiting if start.task in tasks), None)
        if start is not None:
            _, robot = self.idle.pop(tasks.index(start.task))
        elif waiting and (self.idle or len(self.robots) < self.size):
            start = waiting[0]
            robot = self._build(start.task)
        else:
            return None
        waiting.remove(start)
        return start, robot

    def release(self, task: str, robot: R) -> None:
        """Give a robot back that is done."""
        self.idle.append((task, robot))

    def close(self) -> None:
        """Close all robots."""
        self.idle.clear()
        while self.robots:
            self.robots.pop().close()

    def _build(self, task: str) -> R:
        if len(self.robots) == self.size:
            _, needless = self.idle.pop(0)
            self.robots.remove(needless)
            needless.close()
        self.robots.append(self.build(task))
        return self.robots[-1]
