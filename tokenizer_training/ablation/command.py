"""`rvq-train ablate`: its options, and what it does with them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rvq_action.housekeeping.console import writable_folder

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from rvq_action.housekeeping.side_by_side import Places
    from tokenizer_training.ablation.jobs import Ended
    from tokenizer_training.ablation.plan import Planned
    from tokenizer_training.ablation.run import Run

logger = logging.getLogger(__name__)

BUDGET = "ablation"
REFRESH = 2.0
"""Seconds from one look at the clock of the progress bar to the next."""


def ablate_parser() -> ArgumentParser:
    """The options of the command."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        description="Train many small runs that differ in one thing each, and keep a row of each."
    )
    add = parser.add_argument
    add(
        "--data.datasets", nargs="+", type=str, required=True,
        help="folders of LeRobot datasets; every one is trained on by itself",
    )  # fmt: skip
    add(
        "--features", nargs="+", type=str, required=True, metavar="CACHE",
        help="cache of `rvq-train features`, and NAME=CACHE of every other teacher to try",
    )  # fmt: skip
    add("--recipes", nargs="+", type=str, default=None, help="names or YAML files (all there are)")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of everything but the split")
    add("--budget", type=str, default=BUDGET, help="configuration on top of the recipes' parents")
    add("--max_steps", type=int | None, default=None, help="steps of a run (the budget's)")
    add("--mapping", type=str | None, default=None, help="mapping: a YAML file or a packaged name")
    add("--jobs", type=int | None, default=None, help="runs at a time (as many as cores)")
    add("--again", action="store_true", help="train anew what is there with other settings")
    add("--out", type=str, default="runs/ablation/rows", help="folder of the rows")
    add("--runs_dir", type=str, default="runs/ablation", help="folder of the runs' own folders")
    return parser


def ablate(config: Namespace) -> None:
    """Run the command.

    Raises:
        FileNotFoundError: A dataset, a cache or a recipe is missing.
        ValueError: An option is not usable, or some of the runs failed; says which and why.
    """
    from rvq_action.housekeeping.side_by_side import Places
    from tokenizer_training.ablation.plan import plan

    if config.jobs is not None and config.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {config.jobs}.")
    runs, out = runs_of(config), Path(config.out)
    planned = plan(runs, out, config.again)
    there = len(runs) - len(planned)
    if there:
        logger.info("%d of %d rows are there already: not trained again.", there, len(runs))
    if planned:
        writable_folder(out)
        writable_folder(config.runs_dir)
        _train(planned, Places.on_this_machine(config.jobs, len(planned)), out)


def runs_of(config: Namespace) -> list[Run]:
    """All runs asked for: every recipe once before the next seed begins.

    Raises:
        FileNotFoundError: A recipe is missing.
        ValueError: A recipe is unknown, or two datasets or recipes share a name.
    """
    from tokenizer_training.ablation.recipes import choose
    from tokenizer_training.ablation.run import Budget, Run

    recipes, seeds = choose(config.recipes, config.features), dict.fromkeys(config.seeds)
    budget = Budget(config.budget, config.max_steps, config.mapping)
    datasets = [Path(path) for path in config.data.datasets]
    names = [path.resolve().name for path in datasets]
    if len(set(names)) < len(names):
        raise ValueError(f"Datasets share a folder name, by which rows are kept: {names}.")
    return [
        Run(recipe, seed, dataset, budget, Path(config.runs_dir))
        for seed in seeds
        for dataset in datasets
        for recipe in recipes
    ]


def _train(planned: Sequence[Planned], places: Places, out: Path) -> None:
    """Train with a progress bar; write the row of every run as soon as it is done."""
    from tqdm.auto import tqdm

    from tokenizer_training.ablation.finish import finish
    from tokenizer_training.ablation.jobs import train_all

    failed: list[Ended] = []
    with tqdm(total=len(planned), desc="ablation", unit="run", mininterval=REFRESH) as bar:

        def ended(result: Ended) -> None:
            if result.problem is None:
                bar.write(finish(result, out))
            else:
                failed.append(result)
                bar.write(f"{result.planned.run.name} failed: {result.problem}")
            bar.update()

        train_all(planned, places, ended, tick=lambda: bar.update(0))
    if failed:
        lines = [f"  {f.planned.run.name}: {f.problem} ({f.planned.run.log})" for f in failed]
        raise ValueError(
            f"{len(failed)} of {len(planned)} runs failed; the same command goes on with them.\n"
            + "\n".join(lines)
        )
