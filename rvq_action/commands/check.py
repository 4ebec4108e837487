"""`rvq-action check`: is this dataset fit to train on?"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rvq_action.data.check.finding import Finding


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "check",
        help="verify a LeRobotDataset before training on it",
        description="Verify a LeRobotDataset (v2.1 or v3.0) before anyone trains on it and print "
        "a pass / warn / fail table. Exit status 1 if anything fails, else 0.",
    )
    parser.add_argument("dataset", help="folder of the dataset")
    parser.add_argument(
        "--mapping",
        help="mapping file, or name of a packaged mapping (default: found as for training)",
    )
    parser.add_argument(
        "--tokenizer", help="also say whether this tokenizer fits the dataset: folder or hub id"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--all-videos", action="store_true", help="decode all videos, not a sample of them"
    )
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Check and print; 1 if anything fails."""
    from rvq_action.data.check import Status, check_dataset
    from rvq_action.data.check.table import as_json, as_text
    from rvq_action.data.metadata import check_folder

    check_folder(Path(parsed.dataset))
    findings = check_dataset(
        parsed.dataset, parsed.mapping, parsed.all_videos, progress=sys.stderr.isatty()
    )
    if parsed.tokenizer is not None:
        findings = [*findings, check_fit(parsed.tokenizer, parsed.dataset, parsed.mapping)]
    if parsed.json:
        print(as_json(findings))
    else:
        width = shutil.get_terminal_size().columns
        print(as_text(findings, width, colour=_wants_colour(sys.stdout)))
    return int(any(f.status is Status.FAIL for f in findings))


def check_fit(tokenizer: str, dataset: str, mapping: str | None) -> Finding:
    """Whether a tokenizer fits a dataset.

    Args:
        tokenizer: Its folder, or its id on the hub.
        dataset: Folder of the dataset.
        mapping: Of the dataset; the one stored in the tokenizer where omitted.

    Raises:
        ValueError: There is no such tokenizer.
    """
    from rvq_action.commands.encode import open_dataset
    from rvq_action.commands.fit_line import fit_line
    from rvq_action.data.check.finding import failed, passed, warned
    from rvq_action.data.windows import Windows, horizon_frames
    from rvq_action.housekeeping.console import in_words
    from rvq_action.tokenizer import ActionTokenizer

    name, loaded = "tokenizer: fit", ActionTokenizer.from_pretrained(tokenizer)
    try:
        opened = open_dataset(loaded, dataset, mapping, None)
        horizon = horizon_frames(opened.fps, loaded.seconds)
        fits, line = fit_line(loaded, Windows(opened.episodes, horizon))
    except (OSError, ValueError, KeyError) as error:
        fix = "Train a tokenizer on this robot's data, or give the mapping it was trained with."
        return failed(name, " ".join(in_words(error).split()), fix)
    if fits is None:
        return warned(name, line, "Calibrate it, or train it again.")
    fix = "Check units and mapping with `rvq-action inspect`, or train a tokenizer on these data."
    return passed(name, line) if fits else failed(name, line, fix)


def _wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ
