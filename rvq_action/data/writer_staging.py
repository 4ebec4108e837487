"""Staging folder: a dataset appears at its path complete, or not at all.

.NAME.writing   locked by whoever writes the dataset, until it is in its place
NAME.partial    being written; never read, discarded by the next writer
NAME            complete
NAME.previous   the complete set an append replaces; restored if the swap was interrupted
"""

from __future__ import annotations

import logging
import os
import shutil
import weakref
from pathlib import Path

from rvq_action.housekeeping.file_lock import hold, let_go

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


class Staging:
    """The staging folder of a dataset: nobody else writes it until it is finished or discarded.

    Args:
        path: Where the complete dataset will be.
        append: Start from the complete dataset at `path`, where there is one. Its files are
            hard-linked, so they must be replaced and never changed in place.

    Raises:
        FileExistsError: `path` exists and `append` is False, or another writer is at it.
    """

    def __init__(self, path: Path, append: bool) -> None:
        self.path, self.root = path, partial_path(path)
        self._lock_path = path.with_name(f".{path.name}.writing")
        path.parent.mkdir(parents=True, exist_ok=True)
        held = hold(self._lock_path)
        if held is None:
            raise FileExistsError(
                f"Another writer is at {path}: it has {self.root}, and nothing of it was "
                "touched. Let it finish, or give another path."
            )
        self._lock_file = held
        weakref.finalize(self, held.close)
        try:
            self._begin(append)
        except BaseException:
            self._let_go()
            raise

    def finish(self) -> None:
        """Put the staging folder in the place of the dataset."""
        previous = _previous_path(self.path)
        try:
            if self.path.exists():
                shutil.rmtree(previous, ignore_errors=True)
                self.path.rename(previous)
            self.root.rename(self.path)
            shutil.rmtree(previous, ignore_errors=True)
        finally:
            self._let_go()

    def discard(self) -> None:
        """Delete the staging folder; a complete dataset at `path` stays as it is."""
        shutil.rmtree(self.root, ignore_errors=True)
        self._let_go()

    def _begin(self, append: bool) -> None:
        """Make the staging folder, once what a killed writer left is mended or gone."""
        previous = _previous_path(self.path)
        if previous.exists() and not self.path.exists():
            previous.rename(self.path)
        if self.path.exists() and not append:
            raise FileExistsError(
                f"{self.path} exists. Give another path, delete it, or pass append=True to add "
                "episodes."
            )
        if self.root.exists():
            logger.warning("Discarding %s, left behind by a writer that did not finish.", self.root)
            shutil.rmtree(self.root)
        self.root.mkdir()
        if self.path.exists():
            shutil.copytree(self.path, self.root, copy_function=_link, dirs_exist_ok=True)

    def _let_go(self) -> None:
        let_go(self._lock_file, self._lock_path)


def replace_text(path: Path, text: str) -> None:
    """Write a text file through a new inode, so that hard links to the old one keep theirs."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
