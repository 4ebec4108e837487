"""The runs of an ablation, as processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rvq_action.housekeeping import side_by_side
from rvq_action.housekeeping.side_by_side import Places, Work, work_through
from tokenizer_training.ablation.plan import Planned

PROGRAM = (sys.executable, "-m", "tokenizer_training")


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        planned: The run.
        seconds: Wall time of the process; None where it went on with a run that was stopped.
        problem: The last thing it said, where it failed.
    """

    planned: Planned
    seconds: float | None
    problem: str | None


def train_all(
    planned: Sequence[Planned],
    places: Places,
    ended: Callable[[Ended], None],
    tick: Callable[[], object] = lambda: None,
) -> None:
    """Train runs; arguments as `work_through`, of which each run is a `Work`."""

    def tell(end: side_by_side.Ended) -> None:
        ended(Ended(planned[end.number], end.seconds, end.problem))

    work_through([_work(each) for each in planned], places, tell, tick)


def _work(planned: Planned) -> Work:
    folder = planned.run.folder
    words = [*planned.run.words(), "--trainer.enable_progress_bar", "false"]
    words += ["--resume", "never"] if planned.fresh else []
    resumed = folder.record.is_file() and not planned.fresh
    return Work((*PROGRAM, "fit", *words), planned.run.log, lambda: folder.is_complete, resumed)
