"""Does a policy listen? Tasks that look alike, from the same starts under every instruction.

A policy that goes by what it sees alone does one and the same thing in front of both tasks,
whatever it is told. Told to reach, it must not solve the pushing; the other way round tells less,
since whoever pushes a puck to its goal comes near the goal with the hand.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vla.deploy.robots.metaworld_tasks import INSTRUCTIONS
from vla.evaluation.closed_loop.run import roll_out
from vla.evaluation.closed_loop.stage import Staging
from vla.evaluation.shares import Share

REPORT = "listening.json"


@dataclass(frozen=True)
class Listening:
    """What came out.

    Attributes:
        tasks: That look alike.
        cells: (task, task whose instruction was given) -> successes.
        report: The JSON file of it.
    """

    tasks: tuple[str, ...]
    cells: dict[tuple[str, str], Share]
    report: Path


def measure_listening(staging: Staging, workers: int | None = None) -> Listening:
    """Attempt every task under the instruction of every task; goes on where it was stopped.

    Args:
        staging: The policy and the tasks.
        workers: Processes; one per available core where None.

    Raises:
        ValueError: There is one task only; see `roll_out`.
    """
    settings, cells = staging.settings, {}
    if len(settings.tasks) < 2:
        raise ValueError(f"Name two tasks that look alike, not {list(settings.tasks)} alone.")
    for other in settings.tasks:
        told = replace(settings, instruction=INSTRUCTIONS[other])
        out = staging.out / f"told-{other}"
        found = roll_out(replace(staging, settings=told, out=out), workers)
        for task in settings.tasks:
            solved = [o.success for o in found.outcomes if o.start.task == task]
            cells[task, other] = Share.of(solved)
    path = staging.out / REPORT
    rows = [{"task": t, "told": other, **asdict(share)} for (t, other), share in cells.items()]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return Listening(settings.tasks, cells, path)
