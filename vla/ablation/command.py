"""`rvq-vla ablate`: its options, and what it does with them."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rvq_action.housekeeping.console import writable_folder
from rvq_action.housekeeping.json_file import read_json

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from rvq_action.housekeeping.side_by_side import Ended, Places, Work
    from vla.ablation.plan import Planned
    from vla.ablation.run import TokenRun
    from vla.evaluation.closed_loop.settings import RolloutSettings

logger = logging.getLogger(__name__)
PROGRAM = (sys.executable, "-m", "vla")
REFRESH = 2.0
"""Seconds from one look at the clock of the progress bar to the next."""


def ablate_parser() -> ArgumentParser:
    """The options of the command."""
    from jsonargparse import ArgumentParser

    description = "Train the same policy with other action tokens, and keep a row of each run."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--data", nargs="+", type=str, required=True, help="demonstrations of `rvq-vla demos`")
    add("--tokenizers", nargs="+", type=str, required=True, help="NAME=DIR of every tokenizer")
    add("--arms", nargs="+", type=str, default=None, help="names of tokenizers, fast, none (all)")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of everything but the starts")
    add("--bridge", type=str | None, default=None, help="questions of `rvq-vla bridge`")
    add("--tasks", nargs="+", type=str, default=[], help="to attempt (those demonstrated)")
    add("--starts", type=int, default=50, help="of each task, the same for all runs")
    add("--execute_frames", type=int | None, default=None, help="of every chunk (half of it)")
    add("--budget", type=str, default="ablation", help="configuration on top of `tiny`")
    add("--max_steps", type=int | None, default=None, help="steps of a run (the budget's)")
    add("--mapping", type=str | None, default=None, help="of the datasets (each one's own)")
    add("--jobs", type=int | None, default=None, help="runs at a time (as many as cores)")
    add("--again", action="store_true", help="make anew what is there with other settings")
    add("--rows", type=str, default="docs/experiments/tokens", help="folder of the rows")
    add("--runs", type=str, default="runs/tokens", help="folder of the runs' own folders")
    return parser


def ablate(config: Namespace) -> None:
    """Run the command.

    Raises:
        FileNotFoundError: Something that is named is missing.
        ValueError: An option is not usable, or some of the runs failed; says which and why.
    """
    from rvq_action.housekeeping.side_by_side import Places
    from vla.ablation.plan import plan

    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)

    if config.jobs is not None and config.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {config.jobs}.")
    writable_folder(config.runs)
    runs, rows = runs_of(config), Path(config.rows)
    planned = plan(runs, rows, config.again)
    if len(planned) < len(runs):
        logger.info("%d of %d rows are there already.", len(runs) - len(planned), len(runs))
    if planned:
        writable_folder(rows)
        _make(planned, Places.on_this_machine(config.jobs, len(planned)), rows)


def runs_of(config: Namespace) -> list[TokenRun]:
    """All runs asked for: every arm once before the next seed begins."""
    from vla.ablation.arms import FAST, NONE, choose, read_tokenizers
    from vla.ablation.run import Budget, TokenRun

    tokenizers, runs = read_tokenizers(config.tokenizers), Path(config.runs)
    names = config.arms or list(dict.fromkeys([*tokenizers, FAST, NONE]))
    datasets = tuple(Path(path) for path in config.data)
    bridge = None if config.bridge is None else Path(config.bridge)
    told = config.budget, config.max_steps, config.mapping, bridge
    budget = Budget(datasets, *told, rollouts_of(config, datasets[0]))
    place = runs / budget.name
    arms = choose(names, tokenizers, config.data, config.mapping, place)
    seeds = dict.fromkeys(config.seeds)
    return [TokenRun(arm, seed, budget, runs) for seed in seeds for arm in arms]


def rollouts_of(config: Namespace, dataset: Path) -> RolloutSettings:
    """What every policy attempts: as it was demonstrated, unless tasks are named.

    Raises:
        ValueError: The dataset does not say what was demonstrated.
    """
    from vla.data.demos import SETTINGS_FILE
    from vla.evaluation.closed_loop.settings import RolloutSettings

    file = dataset / SETTINGS_FILE
    if not file.is_file():
        raise ValueError(
            f"{dataset} was not recorded by `rvq-vla demos`, so that nobody knows what its policy "
            "is to attempt."
        )
    shown = read_json(file)["settings"]
    return RolloutSettings(
        tuple(config.tasks or shown["tasks"]),
        config.starts,
        execute_frames=config.execute_frames,
        image_size=shown["image_size"],
        look_alike=shown.get("look_alike", False),
    )


def _make(planned: Sequence[Planned], places: Places, rows: Path) -> None:
    """Train with a progress bar; attempt, ask and write the row of every run as soon as it is."""
    from tqdm.auto import tqdm

    from rvq_action.housekeeping.side_by_side import work_through
    from vla.ablation.finish import finish

    failed: list[tuple[str, str | None, Path]] = []
    with tqdm(total=len(planned), desc="tokens", unit="run", mininterval=REFRESH) as bar:

        def ended(end: Ended) -> None:
            each = planned[end.number]
            if end.problem is None:
                bar.write(finish(each, end.seconds, rows, places.jobs))
            else:
                failed.append((each.run.name, end.problem, each.run.log))
                bar.write(f"{each.run.name} failed: {end.problem}")
            bar.update()

        work_through([_work(p) for p in planned], places, ended, tick=lambda: bar.update(0))
    if failed:
        lines = [f"  {name}: {problem} ({log})" for name, problem, log in failed]
        raise ValueError(
            f"{len(failed)} of {len(planned)} runs failed; the same command goes on with them.\n"
            + "\n".join(lines)
        )


def _work(planned: Planned) -> Work:
    from rvq_action.housekeeping.side_by_side import Work

    run = planned.run
    if planned.fresh:
        shutil.rmtree(run.rollouts, ignore_errors=True)
    words = [*run.words(), "--trainer.enable_progress_bar", "false"]
    words += ["--resume", "never"] if planned.fresh else []
    resumed = run.folder.record.is_file() and not planned.fresh
    return Work((*PROGRAM, "train", *words), run.log, lambda: run.folder.is_complete, resumed)
