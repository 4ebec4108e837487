"""Outcomes on disk, and what they add up to.

OUT/outcomes.jsonl   a line per attempt, appended as soon as it is over; the first line says of what
OUT/rollouts.json    all of it, with success per task: written in the end
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vla.evaluation.closed_loop.loop import Outcome
from vla.evaluation.closed_loop.starts import Start
from vla.evaluation.shares import Average, Share

LOG, REPORT = "outcomes.jsonl", "rollouts.json"
FORMAT_VERSION = 2


class OutcomeLog:
    """The outcomes of one policy with one set of settings; goes on where it was stopped.

    Args:
        folder: Where the log is.
        claim: What decides the outcomes, by name; JSON types.

    Raises:
        ValueError: The folder holds outcomes of something else.
    """

    def __init__(self, folder: Path, claim: dict[str, Any]) -> None:
        self.file, self.claim = folder / LOG, {"format_version": FORMAT_VERSION, **claim}
        self.outcomes: dict[tuple[str, int], Outcome] = {}
        if self.file.exists():
            self._read()

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome, on disk first."""
        if not self.file.exists() or not self.file.stat().st_size:
            self._append(self.claim)
        self._append(_row(outcome))
        self._remember(outcome)

    def has(self, start: Start) -> bool:
        """Whether the outcome of a start is known."""
        return (start.task, start.number) in self.outcomes

    def of(self, starts: Sequence[Start]) -> list[Outcome]:
        """Known outcomes, in the order of the starts."""
        return [self.outcomes[start.task, start.number] for start in starts]

    def _remember(self, outcome: Outcome) -> None:
        self.outcomes[outcome.start.task, outcome.start.number] = outcome

    def _append(self, row: dict[str, Any]) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> None:
        """A last line without its end was cut off and is dropped."""
        whole, end, cut = self.file.read_bytes().rpartition(b"\n")
        if cut:
            os.truncate(self.file, len(whole + end))
        try:
            claim, *rows = [json.loads(line) for line in whole.splitlines()] or [self.claim]
            outcomes = [_outcome(row) for row in rows]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.file} is damaged ({error!r}). Delete it.") from error
        if claim != self.claim:
            keys = sorted(claim.keys() | self.claim.keys())
            pairs = [(k, claim.get(k), self.claim.get(k)) for k in keys]
            differing = "; ".join(f"{k}: {a!r}, not {b!r}" for k, a, b in pairs if a != b)
            raise ValueError(
                f"{self.file.parent} holds outcomes of something else ({differing}). Give another "
                "--out, or delete it."
            )
        for outcome in outcomes:
            self._remember(outcome)


def write_report(folder: Path, claim: dict[str, Any], outcomes: Sequence[Outcome]) -> Path:
    """Write rollouts.json; returns its path."""
    tasks = by_task(outcomes)
    report = {
        "format_version": FORMAT_VERSION,
        "settings": claim,
        "mean": summary(list(tasks.values())),
        "tasks": {task: summary([own]) for task, own in tasks.items()},
        "outcomes": [_row(outcome) for outcome in outcomes],
    }
    path = folder / REPORT
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def by_task(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Task -> its outcomes, in their order."""
    tasks = dict.fromkeys(o.start.task for o in outcomes)
    return {task: [o for o in outcomes if o.start.task == task] for task in tasks}


def summary(tasks: Sequence[Sequence[Outcome]]) -> dict[str, Any]:
    """Success and progress over some tasks, and the stages in which attempts ended; plain data.

    Args:
        tasks: Outcomes of each; progress is None where one of them has no rubric.
    """
    solved = [outcome.success for own in tasks for outcome in own]
    scores = [[o.progress for o in own if o.progress is not None] for own in tasks]
    stages = Counter(o.stage for own in tasks for o in own if o.stage is not None)
    told = all(len(s) == len(own) for s, own in zip(scores, tasks, strict=True))
    progress = asdict(Average.of(scores)) if told else None
    return {**asdict(Share.of(solved)), "progress": progress, "stages": dict(stages)}


def _row(outcome: Outcome) -> dict[str, Any]:
    start = outcome.start._asdict()
    return {**start, **{k: v for k, v in outcome._asdict().items() if k != "start"}}


def _outcome(row: dict[str, Any]) -> Outcome:
    start = Start(*(row.pop(name) for name in Start._fields))
    return Outcome(start, **row)
