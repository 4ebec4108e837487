"""Staging folder: a dataset appears at its path complete, or not at all.

NAME.partial    being written; never read, discarded by the next writer
NAME            complete
NAME.previous   the complete set an append replaces; restored if the swap was interrupted
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)


def partial_path(path: Path) -> Path:
    """Where a dataset is built before it is complete."""
    return path.with_name(path.name + ".partial")


def _previous_path(path: Path) -> Path:
    return path.with_name(path.name + ".previous")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def repair(path: Path) -> None:
    """Bring back the complete dataset, where a writer was killed in the middle of the swap."""
    if _previous_path(path).exists() and not path.exists():
        _previous_path(path).rename(path)


def begin(path: Path, append: bool) -> Path:
    """Prepare the staging folder of a dataset.

    Args:
        path: Where the complete dataset will be.
        append: Start from the complete dataset at `path`, where there is one. Its files are
            hard-linked, so they must be replaced and never changed in place.

    Returns:
        The staging folder.

    Raises:
        FileExistsError: `path` exists and `append` is False.
    """
    partial = partial_path(path)
    if path.exists() and not append:
        raise FileExistsError(
            f"{path} exists. Give another path, delete it, or pass append=True to add episodes."
        )
    if partial.exists():
        logger.warning("Discarding %s, left behind by a writer that did not finish.", partial)
        shutil.rmtree(partial)
    if path.exists():
        shutil.copytree(path, partial, copy_function=_link)
    else:
        partial.mkdir(parents=True)
    return partial


def finish(path: Path) -> None:
    """Put the staging folder in the place of the dataset."""
    previous = _previous_path(path)
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
        path.rename(previous)
    partial_path(path).rename(path)
    shutil.rmtree(previous, ignore_errors=True)


def discard(path: Path) -> None:
    """Delete the staging folder; a complete dataset at `path` stays as it is."""
    shutil.rmtree(partial_path(path), ignore_errors=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text file through a new inode, so that hard links to the old one keep theirs."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
