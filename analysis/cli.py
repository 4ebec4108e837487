"""`rvq-analysis`: look at tokenizers, and let them be compared."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from analysis import compare, report, table


def compare_parser() -> ArgumentParser:
    """Arguments of `rvq-analysis compare`."""
    parser = ArgumentParser(description=(compare.__doc__ or "").split("\n")[0])
    many: dict[str, Any] = {"type": Path, "nargs": "+", "metavar": "DIR"}
    parser.add_argument("--tokenizers", **many, default=[], help="artefact directories")
    parser.add_argument("--data", **many, required=True, help="datasets, scored where held out")
    parser.add_argument(
        "--fit_data", **many, default=[],
        help="where FAST, bins and the scored space are fitted; the training split by default",
    )  # fmt: skip
    parser.add_argument("--mapping", help="mapping file or name, for all datasets")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--fast_total", type=bool, default=True,
        help="also compare with a FAST whose own encodings always decode",
    )  # fmt: skip
    return parser


def run_compare(arguments) -> None:
    """Measure, print the table, write metrics.json and index.html."""
    comparison = compare.compute(
        arguments.tokenizers,
        arguments.data,
        arguments.fit_data,
        arguments.mapping,
        arguments.fast_total,
    )
    metrics = compare.write_metrics(comparison, arguments.out)
    page = report.write(comparison, arguments.out)
    print(f"\n{table.render(comparison)}\n\n{metrics}\n{page}")


COMMANDS = {"compare": (compare_parser, run_compare)}


def build_parser() -> ArgumentParser:
    """The parser of all subcommands."""
    parser = ArgumentParser(prog="rvq-analysis", description=__doc__)
    commands = parser.add_subcommands(required=True, dest="command")
    for name, (make_parser, _) in COMMANDS.items():
        commands.add_subcommand(name, make_parser())
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; its exit status."""
    parsed = build_parser().parse_args(arguments)
    _, run = COMMANDS[parsed.command]
    try:
        run(parsed[parsed.command])
    except (ValueError, KeyError, FileNotFoundError) as error:
        print(f"rvq-analysis {parsed.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
