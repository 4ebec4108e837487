"""`rvq-action check`: is this dataset fit to train on?"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TextIO


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
    if parsed.json:
        print(as_json(findings))
    else:
        width = shutil.get_terminal_size().columns
        print(as_text(findings, width, colour=_wants_colour(sys.stdout)))
    return int(any(f.status is Status.FAIL for f in findings))


def _wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ
