"""`rvq-vla rubrics`: its options, and what it does with them."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from vla.evaluation.progress.verify import RubricCheck

IDLE_LIMIT = 20.0
"""What an arm that does nothing must stay below, over all starts."""


def rubrics_parser() -> ArgumentParser:
    """The options of `rvq-vla rubrics`."""
    from jsonargparse import ArgumentParser

    description = "Hold rubrics of task progress against the scripted expert and an idle arm."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--rubrics", type=str | None, default=None, help="a YAML of your own (the packaged one)")
    add("--tasks", nargs="+", type=str, default=[], help="task names; all that it has if not given")
    add("--starts", type=int, default=5, help="attempts of each")
    add("--seed", type=int, default=0, help="other numbers give other starts")
    return parser


def rubrics(config: Namespace) -> int:
    """Run `rvq-vla rubrics`; 1 where a rubric is wrong.

    Raises:
        ValueError: A file or an option is not usable.
    """
    from vla.evaluation.progress.rubrics import PACKAGED, load_rubrics
    from vla.evaluation.progress.verify import verify

    known = load_rubrics(config.rubrics or PACKAGED)
    if unknown := sorted(set(config.tasks) - set(known)):
        raise ValueError(f"There is no rubric for {unknown}; there is one for {sorted(known)}.")
    if config.starts < 1 or config.seed < 0:
        raise ValueError("starts begin at 1, seed at 0.")
    print(f"{'':<30} {'expert solves':>13} {'its progress':>13} {'idle arm':>9}")
    wrong = 0
    for task in config.tasks or known:
        line, is_right = _line(verify(known[task], config.starts, config.seed))
        print(f"{task:<30} {line}", flush=True)
        wrong += not is_right
    return 1 if wrong else 0


def _line(check: RubricCheck) -> tuple[str, bool]:
    """What a check found, and whether the rubric is right."""
    solved = [walk for walk in check.expert if walk.success]
    final = [walk.scores[-1] for walk in check.expert]
    idle = mean(walk.scores[-1] for walk in check.idle)
    wrong = [f"the expert succeeds in stage {stage!r}" for stage in check.skipped]
    if not all(walk.is_monotone for walk in (*check.expert, *check.idle)):
        wrong.append("progress falls")
    if idle >= IDLE_LIMIT:
        wrong.append(f"doing nothing scores {idle:.0f}")
    share = f"{len(solved)} of {len(check.expert)}"
    spread = f"{min(final):.0f} to {max(final):.0f}"
    return f"{share:>13} {spread:>13} {idle:>9.1f}  {'; '.join(wrong)}".rstrip(), not wrong
