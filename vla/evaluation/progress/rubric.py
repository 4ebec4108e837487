"""Rubric: the stages of a task and what each is worth, as data.

    approach        grasp        move          solve
    |-----30-----|----20----|------30------|----20----|        100 in all

A stage opens when the one before it is complete, and stays complete. Within a stage credit grows in
a straight line from the value that its signal had at first to the bound that completes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

FULL = 100.0


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        stage: Its name.
        weight: What it is worth, of `FULL`.
        signal: What it is measured by.
        at_most: Complete where the signal is no more than that; or
        at_least: where it is no less.
        partial: Whether what is not complete counts in part.
    """

    stage: str
    weight: float
    signal: str
    at_most: float | None = None
    at_least: float | None = None
    partial: bool = True

    def __post_init__(self) -> None:
        if not self.stage.strip() or not self.weight > 0:
            raise ValueError(
                f"A stage has a name and a weight above 0, got {self.stage!r} and {self.weight}."
            )
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(
                f"Stage {self.stage!r} is complete at_most or at_least at a value: give one of "
                f"them, not {self.at_most} and {self.at_least}."
            )

    @property
    def bound(self) -> float:
        """The value that completes it."""
        found = self.at_least if self.at_most is None else self.at_most
        assert found is not None
        return found

    def credit(self, now: float, first: float) -> float:
        """The part of the stage that is done, 0 to 1.

        Args:
            now: The signal's value.
            first: The value that it had at first.
        """
        sign = 1.0 if self.at_most is None else -1.0
        missing, span = sign * (self.bound - now), sign * (self.bound - first)
        if missing <= 0:
            return 1.0
        if not self.partial or span <= 0:
            return 0.0
        return max(0.0, 1.0 - missing / span)


@dataclass(frozen=True)
class Rubric:
    """The stages of a task, in their order.

    Attributes:
        task: Its name.
        stages: At least one; their weights add up to `FULL`.
    """

    task: str
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        names, total = [s.stage for s in self.stages], sum(s.weight for s in self.stages)
        if not names or len(set(names)) != len(names):
            raise ValueError(f"{self.task}: stages have names of their own, got {names}.")
        if abs(total - FULL) > 1e-6:
            raise ValueError(
                f"{self.task}: the weights of {names} add up to {total:g}, not to {FULL:g}."
            )

    @classmethod
    def from_data(cls, task: str, data: Any, signals: tuple[str, ...]) -> Rubric:
        """Read a list of stages; strict.

        Args:
            task: Whose stages they are.
            data: As YAML gives it.
            signals: Names that a stage may be measured by.

        Raises:
            ValueError: Says what is wrong with which stage.
        """
        if not isinstance(data, list) or not all(isinstance(row, Mapping) for row in data):
            raise ValueError(f"{task}: give a list of stages, not {data!r}.")
        return cls(task, tuple(_stage(task, dict(row), signals) for row in data))


def _stage(task: str, row: dict[str, Any], signals: tuple[str, ...]) -> Stage:
    known = {field.name for field in fields(Stage)}
    if unknown := sorted(set(map(str, row)) - known):
        raise ValueError(f"{task}: a stage has no {unknown}; it has {sorted(known)}.")
    if missing := [name for name in ("stage", "weight", "signal") if name not in row]:
        raise ValueError(f"{task}: stage {row} lacks {missing}.")
    if row["signal"] not in signals:
        raise ValueError(
            f"{task}: stage {row['stage']!r} is measured by {row['signal']!r}, which nobody tells. "
            f"There are {list(signals)}."
        )
    for name in ("weight", "at_most", "at_least"):
        value = row.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{task}: {name} of {row['stage']!r} must be a number, got {value!r}.")
    try:
        return Stage(**row)
    except ValueError as error:
        raise ValueError(f"{task}: {error}") from error
