"""What a robot was told in a run, period by period, and what there is to be measured of it.

    chunk    - - 0 0 0 0 0 1 1 1 1 - 2 2       - : held
    seam                   ^         ^         the first command that the new chunk has decided

The boundary jump is the mean of |a_k - 2 a_{k-1} + a_{k-2}| at the seams. Frames that a chunk was
given repeat what the last one had planned: its seam lies behind them, not where they begin. Where a
robot is held its command counts: velocities are 0 then, and everything else stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rvq_action.layout import ActionLayout
from vla.deploy.rates import rate_channels
from vla.deploy.witness import Step


@dataclass
class Trace:
    """Looks on at a run: a `Witness`.

    Attributes:
        layout: Of the commands.
        horizon: Frames of a chunk.
        given: First frames of a chunk, at most, that repeat what the last one still had.
        commands: float64 [D] of every period since the first one that moved the robot.
        chunks: Of which chunk; None where it was held.
        frames: At which of its frames; 0 where it was held.
    """

    layout: ActionLayout
    horizon: int
    given: int = 0
    commands: list[np.ndarray] = field(default_factory=list)
    chunks: list[int | None] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    problem = ""

    def step(self, step: Step) -> None:
        if step.sent is None:
            if self.commands:
                held = np.where(rate_channels(self.layout), 0.0, self.commands[-1])
                self._append(held, None, 0.0)
            return
        assert step.due is not None
        self._append(step.sent, step.due.chunk, step.due.frame)

    def _append(self, command: np.ndarray, chunk: int | None, frame: float) -> None:
        self.commands.append(command)
        self.chunks.append(chunk)
        self.frames.append(frame)

    def event(self, time: float, kind: str, detail: str) -> None:
        """Nothing is made of it."""

    @property
    def held(self) -> int:
        """Periods without a command, after the first."""
        return sum(chunk is None for chunk in self.chunks)

    def seams(self) -> np.ndarray:
        """int64: where what a new chunk decided begins, the first one apart; from 2 on."""
        found, last, repeated = [], self.chunks[0] if self.chunks else None, None
        for period, chunk in enumerate(self.chunks):
            if chunk is None:
                continue
            if chunk != last:
                last, repeated = chunk, self._repeated(period)
            if repeated is not None and self.frames[period] >= repeated:
                found.append(period)
                repeated = None
        return np.array([period for period in found if period >= 2], dtype=np.int64)

    def _repeated(self, period: int) -> float:
        """First frames of the chunk that begins there which the one before had planned."""
        if self.chunks[period - 1] is None:
            return 0.0
        left = self.horizon - 1 - self.frames[period - 1]
        return min(self.given, self.frames[period] + left)

    def inside(self) -> np.ndarray:
        """int64: where three commands in a row are of one plan."""
        seams = set(self.seams().tolist())
        moving = [chunk is not None for chunk in self.chunks]
        alike = [k for k in range(2, len(moving)) if all(moving[k - 2 : k + 1])]
        return np.array([k for k in alike if not seams & {k - 1, k}], dtype=np.int64)

    def bends(self) -> np.ndarray:
        """float64 [n, D]: |a_k - 2 a_{k-1} + a_{k-2}|, row k for k from 2 on."""
        commands = np.reshape(self.commands, (len(self.commands), self.layout.width))
        return np.abs(np.diff(commands, 2, axis=0))
