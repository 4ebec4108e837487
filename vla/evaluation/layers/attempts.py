"""Layers 3 and 4: the policy drives robots, slowly and then at full speed: attempt.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vla.deploy.report import Reason
from vla.deploy.robots.config import read_robot, robot_digest
from vla.deploy.safety.hold import USUAL
from vla.evaluation.layers.attempt import attempt
from vla.evaluation.layers.gates import Check, Gates
from vla.evaluation.layers.subject import Subject
from vla.evaluation.layers.trial import Trial, ended


def measure(subject: Subject, layer: Path, speed: float) -> dict[str, Any]:
    """Let every robot be driven as often as there are trials; plain data.

    A trial that does not end in peace is the last one: somebody has to look first. It may be
    repeated, but that of a real robot stays among the rows.

    Raises:
        ValueError: Policy and robot do not fit, nobody is beside a real one, or the folder holds
            trials with other settings; nothing has moved.
        RobotError: A robot cannot be reached.
    """
    told = subject.settings
    trials = [
        Trial.of(word, number, speed, layer, read_robot(word).is_real)
        for word in told.robots
        for number in range(told.trials)
    ]
    decided = {word: decides(subject, word, speed) for word in told.robots}
    for trial in trials:
        if trial.known(decided[trial.word]) is None:
            trial.clear(decided[trial.word])
    rows = [row for trial in trials for row in trial.aborted(decided[trial.word])]
    for trial in tqdm(trials, layer.name.replace("_", " "), unit="trial", disable=None):
        row = trial.known(decided[trial.word])
        rows.append(row or trial.keep(attempt(subject, trial), decided[trial.word]))
        if not ended(rows[-1]):
            break
    return {"speed": speed, "trials": rows, "cut_short": not ended(rows[-1])}


def judge(figures: dict[str, Any], gates: Gates, least: float) -> list[Check]:
    """Hold the figures against the gates.

    Args:
        figures: What `measure` gave.
        gates: The bounds.
        least: Share of trials that must be solved.
    """
    rows = figures["trials"]
    return [*_peace(rows), *_trouble(rows, gates), _solved(rows, least)]


def decides(subject: Subject, word: str, speed: float) -> dict[str, Any]:
    """What decides how the trials of a robot go, beside their numbers; plain data."""
    told = subject.settings.decisive("full_speed") | {"speed": speed}
    told |= {"policy": subject.claim, "robot": robot_digest(word)}
    return {name: value for name, value in told.items() if name not in ("robots", "trials")}


def _peace(rows: list[dict[str, Any]]) -> Iterator[Check]:
    """What may not happen in any trial."""
    wrong = [f"{row['name']}: {row['ending']} ({row['detail']})" for row in rows if not ended(row)]
    yield Check("every trial ended in peace", not wrong, "; ".join(wrong) or "all did")
    still = [row["name"] for row in rows if not (row["sent"] and row["chunks"])]
    yield Check("every trial was moved by chunks", not still, ", ".join(still) or "all were")
    yield Check.at_most("watchdog trips", sum(row["watchdog_trips"] for row in rows), 0)
    problems = [f"{row['name']}: {problem}" for row in rows for problem in row["problems"]]
    yield Check("nothing else went wrong", not problems, "; ".join(problems) or "nothing did")


def _trouble(rows: list[dict[str, Any]], gates: Gates) -> Iterator[Check]:
    """What may happen now and then: over all trials, and what holds a robot in the worst one."""
    for name, part, of, gate in (
        ("missed deadlines", "missed_deadlines", ("periods",), gates.missed),
        ("refused chunks", "refused_chunks", ("chunks", "refused_chunks"), gates.refused),
        ("commands changed by limits", "clipped", ("sent",), gates.clipped),
    ):
        whole = sum(row[key] for row in rows for key in of)
        yield Check.at_most(name, sum(row[part] for row in rows) / max(whole, 1), gate)
    held = max((_held(row, (Reason.STARTING,)) for row in rows), default=0.0)
    yield Check.at_most("periods held after the start", held, gates.held)
    faults = max((_held(row, USUAL) for row in rows), default=0.0)
    yield Check.at_most("periods held by a fault", faults, gates.faults)


def _held(row: dict[str, Any], but_for: tuple[Reason, ...]) -> float:
    """Share of a trial's periods, from its first chunk on, that the robot was held in."""
    whole = row["periods"] - row["held"].get(Reason.STARTING, 0)
    held = sum(count for reason, count in row["held"].items() if reason not in but_for)
    return held / max(whole, 1)


def _solved(rows: list[dict[str, Any]], least: float) -> Check:
    solved = [row["success"] for row in rows if row["success"] is not None]
    if not solved and least > 0:
        return Check("solved", False, "nothing says whether a trial was solved")
    return Check.at_least("solved", sum(solved) / max(len(solved), 1), least)
