"""`rvq-action`: what one does with a dataset or a tokenizer from the shell.

Each subcommand lives in `rvq_action.commands`, adds its own arguments and imports what it needs
only when it runs, so that `--help` is quick and needs no extra.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rvq_action.commands import check, decode, encode, export, inspect
from rvq_action.housekeeping.console import guarded

COMMANDS = (check, encode, decode, export, inspect)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="rvq-action", description="Look at datasets, and use tokenizers, from the shell."
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parsed = build_parser().parse_args(words)
    extra = getattr(parsed, "extra", "data")
    return guarded("rvq-action", words, extra, lambda: parsed.run(parsed))
