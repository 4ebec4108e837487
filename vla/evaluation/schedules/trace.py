"""What a robot was told in a run, period by period, and what there is to be measured of it.

    chunk    - - 0 0 0 0 0 1 1 1 1 - 2 2       - : held
    seam                   ^         ^         the first command of a new chunk

SCORING's boundary jump is the mean of |a_k - 2 a_{k-1} + a_{k-2}| at the seams. No seam hides in
frames that repeat the last chunk: `joining` lets none take over before it differs. Where a robot is
held its command counts: velocities are 0 then, and everything else stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rvq_action.layout import ActionLayout
from vla.deploy.safety.rates import rate_channels
from vla.deploy.witness import Step


@dataclass
class Trace:
    """Looks on at a run: a `Witness`.

    Attributes:
        layout: Of the commands.
        commands: float64 [D] of every period since the first one that moved the robot.
        chunks: Of which chunk; None where it was held.
    """

    layout: ActionLayout
    commands: list[np.ndarray] = field(default_factory=list)
    chunks: list[int | None] = field(default_factory=list)
    problem = ""

    def step(self, step: Step) -> None:
        if step.sent is None:
            if self.commands:
                held = np.where(rate_channels(self.layout), 0.0, self.commands[-1])
                self.commands.append(held)
                self.chunks.append(None)
            return
        assert step.due is not None
        self.commands.append(step.sent)
        self.chunks.append(step.due.chunk)

    def event(self, time: float, kind: str, detail: str) -> None:
        """Nothing is made of it."""

    @property
    def held(self) -> int:
        """Periods without a command, after the first."""
        return sum(chunk is None for chunk in self.chunks)

    def seams(self) -> np.ndarray:
        """int64: where a new chunk begins, the first one apart; from 2 on."""
        found, last = [], self.chunks[0] if self.chunks else None
        for period, chunk in enumerate(self.chunks):
            if chunk is not None and chunk != last:
                found.append(period)
                last = chunk
        return np.array([period for period in found if period >= 2], dtype=np.int64)

    def inside(self) -> np.ndarray:
        """int64: where three commands in a row are of one chunk."""
        chunks = self.chunks
        alike = [k for k in range(2, len(chunks)) if chunks[k - 2] == chunks[k - 1] == chunks[k]]
        return np.array([k for k in alike if chunks[k] is not None], dtype=np.int64)

    def bends(self) -> np.ndarray:
        """float64 [n, D]: |a_k - 2 a_{k-1} + a_{k-2}|, row k for k from 2 on."""
        commands = np.reshape(self.commands, (len(self.commands), self.layout.width))
        return np.abs(np.diff(commands, 2, axis=0))
