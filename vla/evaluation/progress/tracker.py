"""ProgressTracker: follows one attempt through the stages of its rubric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vla.evaluation.progress.rubric import FULL, Rubric

SOLVED = "solved"
"""Where an attempt has come that has no stage before it."""
SUCCESS = "success"


class Progress(NamedTuple):
    """How far an attempt has come.

    Attributes:
        score: 0 to 100; never falls.
        stage: The stage that it is in; `SOLVED` where none is left.
    """

    score: float
    stage: str


class ProgressTracker:
    """One attempt.

    Args:
        rubric: Of its task.
    """

    def __init__(self, rubric: Rubric) -> None:
        self.rubric = rubric
        self._done = [0.0] * len(rubric.stages)
        self._open = 0
        self._first: dict[str, float] = {}

    def update(self, signals: Mapping[str, float]) -> None:
        """Take in what is told after a step; nothing told changes nothing.

        An attempt that succeeds has completed every stage, however it did.

        Raises:
            KeyError: A stage is measured by something that is not told.
        """
        if not signals:
            return
        stages = self.rubric.stages
        if not self._first:
            self._first = {s.signal: self._read(signals, s.signal) for s in stages}
        if signals.get(SUCCESS, 0.0) >= 1.0:
            self._done, self._open = [1.0] * len(stages), len(stages)
        while self._open < len(stages):
            stage = stages[self._open]
            now = self._read(signals, stage.signal)
            credit = stage.credit(now, self._first[stage.signal])
            self._done[self._open] = max(self._done[self._open], credit)
            if credit < 1.0:
                break
            self._open += 1

    @property
    def progress(self) -> Progress:
        """So far."""
        stages = self.rubric.stages
        if self._open == len(stages):
            return Progress(FULL, SOLVED)
        score = sum(s.weight * done for s, done in zip(stages, self._done, strict=True))
        return Progress(round(score, 2), stages[self._open].stage)

    def _read(self, signals: Mapping[str, float], name: str) -> float:
        if name not in signals:
            raise KeyError(
                f"The rubric of {self.rubric.task} is measured by {name!r}, which the robot does "
                f"not tell; it tells {sorted(signals)}."
            )
        return signals[name]
