"""`rvq-analysis tokens`: its options, and what it does with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rvq_action.housekeeping.console import kept_if_used

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


def tokens_parser() -> ArgumentParser:
    """Arguments of `rvq-analysis tokens`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Hold the policies of `rvq-vla ablate` together.")
    parser.add_argument(
        "--rows", type=Path, default=Path("docs/experiments/tokens"), metavar="DIR",
        help="rows of `rvq-vla ablate`",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    return parser


def run_tokens(arguments: Namespace) -> None:
    """Print the table, write tokens.json, table.md and index.html."""
    from analysis.tokens import page, study

    with kept_if_used(arguments.out):
        studies = study.compute(arguments.rows)
    written = [study.write(studies, arguments.out), page.write_markdown(studies, arguments.out)]
    print(f"\n{page.render(studies)}\n", *written, page.write(studies, arguments.out), sep="\n")
