"""Running a suite: every checkpoint from the same starts, each trajectory once.

OUT/CHECKPOINT/outcomes.jsonl   a line per trajectory, see `closed_loop.results`
OUT/CHECKPOINT/videos/*.mp4     the first ones, where they are filmed
OUT/suite.json                  what it adds up to, after every checkpoint
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rvq_action.housekeeping.console import writable_folder
from rvq_action.housekeeping.json_file import write_json
from vla.evaluation.closed_loop.results import by_task, summary
from vla.evaluation.closed_loop.run import fingerprint, roll_out
from vla.evaluation.closed_loop.settings import RolloutSettings
from vla.evaluation.closed_loop.stage import Staging
from vla.evaluation.suites.suite import Suite

logger = logging.getLogger(__name__)
REPORT, FORMAT_VERSION = "suite.json", 1
STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A policy to be judged.

    Attributes:
        name: Under which its outcomes are kept.
        path: Its folder.
    """

    name: str
    path: Path

    @property
    def steps(self) -> int | None:
        """Of its training, where its name says so: step-001000."""
        found = STEP.fullmatch(self.path.name)
        return int(found[1]) if found else None


def name_checkpoints(paths: Sequence[str | Path]) -> list[Checkpoint]:
    """Checkpoints by the names of their folders, or with those of the folders around them.

    Raises:
        ValueError: There is none, or two have the same names.
    """
    folders = [Path(path) for path in paths]
    whole = [folder.resolve() for folder in folders]
    for names in ([p.name for p in whole], [f"{p.parent.name}-{p.name}" for p in whole]):
        if names and len(set(names)) == len(names):
            return [Checkpoint(n, folder) for n, folder in zip(names, folders, strict=True)]
    raise ValueError(f"Name policies whose folders have names of their own, not {list(paths)}.")


def run_suite(
    checkpoints: Sequence[Checkpoint],
    suite: Suite,
    staging: Staging,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Let every checkpoint attempt the suite; goes on where it was stopped.

    Args:
        checkpoints: In the order of the curve.
        suite: What is attempted.
        staging: How; its policy, tasks and starts are taken from the others.
        workers: Processes; one per available core where None.
        progress: Show progress bars.

    Returns:
        What suite.json holds.

    Raises:
        FileNotFoundError: There is no such policy.
        ValueError: A policy cannot act there, or `out` holds outcomes of something else.
        RenderingUnavailable: Off-screen rendering does not work on this machine.
    """
    out, rows = writable_folder(staging.out), list[dict[str, Any]]()
    prints = {checkpoint.name: fingerprint(checkpoint.path) for checkpoint in checkpoints}
    for checkpoint in checkpoints:
        logger.info("%s: %s", suite.name, checkpoint.name)
        folder = out / checkpoint.name
        told = replace(staging, policy=checkpoint.path, settings=_told(suite, staging), out=folder)
        tasks = by_task(roll_out(told, workers, progress).outcomes)
        groups = {name: summary([tasks[t] for t in own]) for name, own in suite.groups.items()}
        each = {task: summary([own]) for task, own in tasks.items()}
        row = {
            "name": checkpoint.name,
            "steps": checkpoint.steps,
            "averages": groups,
            "tasks": each,
        }
        rows.append(row | {"policy": prints[checkpoint.name]})
        report = {"format_version": FORMAT_VERSION, "suite": suite.to_dict(), "checkpoints": rows}
        write_json(report, out / REPORT)
    return report


def _told(suite: Suite, staging: Staging) -> RolloutSettings:
    return replace(
        staging.settings,
        tasks=suite.tasks,
        starts=suite.trajectories,
        max_steps=suite.max_steps,
        seed=suite.seed,
    )
