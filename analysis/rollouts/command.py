"""`rvq-analysis rollouts`: its options, and what it does with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rvq_action.housekeeping.console import kept_if_used

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


def rollouts_parser() -> ArgumentParser:
    """Arguments of `rvq-analysis rollouts`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Draw what policies did: suites, rollouts, ...")
    add = parser.add_argument
    add(
        "--runs", type=Path, nargs="+", required=True, metavar="DIR",
        help="folders of `rvq-vla suite`, `rollout`, `eval` or `schedules`",
    )  # fmt: skip
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    return parser


def run_rollouts(arguments: Namespace) -> None:
    """Write index.html."""
    from analysis.rollouts import page
    from analysis.rollouts.runs import read_run

    with kept_if_used(arguments.out):
        runs = [read_run(folder) for folder in arguments.runs]
    print(page.write(runs, arguments.out))
