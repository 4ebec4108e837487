"""Finding: one row of the table that `rvq-action check` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Whether a dataset can be trained on as it is."""

    PASS = "pass"
    WARN = "warn"
    """Usable, but somebody should know."""
    FAIL = "fail"
    """Training on it would fail, or teach something wrong."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: What was checked, as `family: thing`.
        status: The verdict.
        message: What was found, with figures.
        fix: What to do; empty where nothing is to be done.
    """

    name: str
    status: Status
    message: str
    fix: str = ""


def passed(name: str, message: str) -> Finding:
    """A finding that asks for nothing."""
    return Finding(name, Status.PASS, message)


def warned(name: str, message: str, fix: str) -> Finding:
    """A finding somebody should know about."""
    return Finding(name, Status.WARN, message, fix)


def failed(name: str, message: str, fix: str) -> Finding:
    """A finding that forbids training."""
    return Finding(name, Status.FAIL, message, fix)


def listed(items: Iterable[object], limit: int = 6) -> str:
    """Items separated by commas, the end left out where there are too many."""
    texts = [str(item) for item in items]
    shown = ", ".join(texts[:limit])
    return shown if len(texts) <= limit else f"{shown} and {len(texts) - limit} more"


def counted(number: int, thing: str) -> str:
    """A number and its thing, with an s where there is not exactly one."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def runs(numbers: Sequence[int], limit: int = 6) -> str:
    """Ascending numbers with neighbours joined: 0-3, 7, 9-11."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return listed((f"{a}" if a == b else f"{a}-{b}" for a, b in spans), limit)
