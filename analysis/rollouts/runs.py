"""Reading what `rvq-vla suite`, `rollout`, `eval` and `schedules` leave in their folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.bootstrap import Estimate
from analysis.rollouts.ways import WaysRun, read_ways
from rvq_action.housekeeping.json_file import read_json
from vla.evaluation.closed_loop.results import REPORT as ROLLOUTS
from vla.evaluation.layers.evaluate import REPORT as LAYERS
from vla.evaluation.schedules.run import REPORT as WAYS
from vla.evaluation.suites.run import REPORT as SUITE

ALL = "all"


@dataclass(frozen=True)
class Result:
    """What attempts came to.

    Attributes:
        count: Attempts.
        solved: Those that were solved.
        success: Their share, 0 to 1.
        progress: 0 to 100; None where a task has no rubric.
        stages: Stage -> attempts that ended in it.
    """

    count: int
    solved: int
    success: Estimate
    progress: Estimate | None
    stages: Mapping[str, int]

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Result:
        """Of a row of suite.json or rollouts.json."""
        success = Estimate(row["success"], row["low"], row["high"])
        told = row["progress"]
        progress = Estimate(told["mean"], told["low"], told["high"]) if told else None
        return cls(row["count"], row["solved"], success, progress, row["stages"])


@dataclass(frozen=True)
class Checkpoint:
    """A policy, by what it did.

    Attributes:
        name: Its name.
        steps: Of its training, where they are known.
        averages: Group of tasks -> result.
        tasks: Task -> result.
        films: Task -> the films of its attempts.
    """

    name: str
    steps: int | None
    averages: Mapping[str, Result]
    tasks: Mapping[str, Result]
    films: Mapping[str, list[Path]]


@dataclass(frozen=True)
class SuiteRun:
    """Checkpoints from the same starts.

    Attributes:
        name: Of the folder.
        title: What was attempted.
        unseen: Tasks that were never demonstrated -> how they differ.
        checkpoints: At least one, in their order.
    """

    name: str
    title: str
    unseen: Mapping[str, str]
    checkpoints: list[Checkpoint]


@dataclass(frozen=True)
class EvalRun:
    """A policy in the layers of its evaluation.

    Attributes:
        name: Of the folder.
        folder: With the recordings.
        layers: Layer -> figures, checks and whether it passed, as in eval.json.
    """

    name: str
    folder: Path
    layers: Mapping[str, Mapping[str, Any]]


Run = SuiteRun | EvalRun | WaysRun


def read_run(folder: Path) -> Run:
    """What a folder holds.

    Raises:
        FileNotFoundError: Nothing that is known.
        ValueError: A file of it is damaged.
    """
    for name, reader in READERS.items():
        if (file := folder / name).is_file():
            try:
                return reader(folder, read_json(file))
            except (KeyError, TypeError, IndexError, AttributeError) as error:
                raise ValueError(f"{file} is damaged ({error!r}). Make it again.") from error
    raise FileNotFoundError(
        f"{folder} holds none of {list(READERS)}: give the --out of `rvq-vla suite`, `rollout`, "
        "`eval` or `schedules`."
    )


def _read_suite(folder: Path, data: Mapping[str, Any]) -> SuiteRun:
    found = [_checkpoint(folder / row["name"], row) for row in data["checkpoints"]]
    suite = data["suite"]
    title = f"{suite['name']}, {suite['trajectories']} trajectories of each task"
    return SuiteRun(folder.resolve().name, title, suite["unseen"], found)


def _read_rollouts(folder: Path, data: Mapping[str, Any]) -> SuiteRun:
    name = folder.resolve().name
    row = {"name": name, "steps": None, "averages": {ALL: data["mean"]}, "tasks": data["tasks"]}
    return SuiteRun(name, "rollouts", {}, [_checkpoint(folder, row)])


def _read_layers(folder: Path, data: Mapping[str, Any]) -> EvalRun:
    names = ("figures", "checks", "passed")
    layers = {layer: {n: row[n] for n in names} for layer, row in data["layers"].items()}
    return EvalRun(folder.resolve().name, folder, layers)


def _checkpoint(folder: Path, row: Mapping[str, Any]) -> Checkpoint:
    tasks = {task: Result.from_dict(found) for task, found in row["tasks"].items()}
    averages = {name: Result.from_dict(found) for name, found in row["averages"].items()}
    films = {task: sorted((folder / "videos").glob(f"{task}-*.mp4")) for task in tasks}
    return Checkpoint(row["name"], row["steps"], averages, tasks, films)


READERS: dict[str, Callable[[Path, Mapping[str, Any]], Run]] = {
    SUITE: _read_suite,
    ROLLOUTS: _read_rollouts,
    LAYERS: _read_layers,
    WAYS: read_ways,
}
"""File of a folder -> who reads it."""
