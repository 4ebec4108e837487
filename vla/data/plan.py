"""BatchPlan: which items a process reads at a step, from nothing but the step.

A global batch is what one optimizer step sees: G = batch_size · world_size · accumulation items.

    item g of the batch     0 1 2 ...            R-1 | R ... G-1
    what it is              robots' windows          | conversations
    who reads it            micro-batch g mod cells, of world_size · accumulation cells

Robots and conversations are 9 : 1. Where G is no multiple of 10 the shares of a step are rounded so
that after any number of steps the sum is as near to 9 : 1 as whole items come: the remainder of a
step is carried into the next. Dealing the items out one by one gives every micro-batch its share of
both, to within one. What a global batch consists of depends on G, not on how it is dealt out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Place(NamedTuple):
    """One item of a global batch.

    Attributes:
        robot: Whether it is a robot's window; else a conversation.
        draw: Its number among all draws of its kind since the first step.
        number: g, its number in the global batch.
    """

    robot: bool
    draw: int
    number: int


@dataclass(frozen=True)
class BatchPlan:
    """How global batches are put together and dealt out.

    Attributes:
        batch_size: Items of a micro-batch.
        robots: Parts of a batch that are robots' windows, such as 9.
        others: Parts that are conversations, such as 1.
        rank: Number of this process.
        world_size: Number of processes.
        accumulation: Micro-batches that a process reads per step.
    """

    batch_size: int
    robots: int = 9
    others: int = 1
    rank: int = 0
    world_size: int = 1
    accumulation: int = 1

    def __post_init__(self) -> None:
        if min(self.batch_size, self.world_size, self.accumulation) < 1:
            raise ValueError(f"batch_size, world_size and accumulation start at 1: {self}.")
        if min(self.robots, self.others) < 0 or not self.robots + self.others:
            raise ValueError(f"robots : others must be a ratio, got {self.robots} : {self.others}.")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must lie in 0..{self.world_size - 1}, got {self.rank}.")

    @property
    def cells(self) -> int:
        """Micro-batches of a step, of all processes."""
        return self.world_size * self.accumulation

    @property
    def global_size(self) -> int:
        """G, items of a step."""
        return self.batch_size * self.cells

    def count_robots(self, step: int) -> int:
        """Robots' windows in the global batch of a step; the rest are conversations."""
        return self.global_size - self._others_before(step + 1) + self._others_before(step)

    def places(self, step: int, micro: int = 0) -> list[Place]:
        """The items of one micro-batch of this process.

        Args:
            step: Number of the optimizer step.
            micro: Number of the micro-batch in it, below `accumulation`.
        """
        others, robots = self._others_before(step), self.count_robots(step)
        first = step * self.global_size - others
        own = range(micro * self.world_size + self.rank, self.global_size, self.cells)
        return [
            Place(True, first + g, g) if g < robots else Place(False, others + g - robots, g)
            for g in own
        ]

    def _others_before(self, step: int) -> int:
        """Conversations in all steps before one."""
        return step * self.global_size * self.others // (self.robots + self.others)
