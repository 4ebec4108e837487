"""Staging folder: a dataset appears at its path complete, or not at all.

NAME.partial    being written, its file `.writing` locked; never read, discarded by the next writer
NAME            complete
NAME.previous   the complete set an append replaces; restored if the swap was interrupted
"""

from __future__ import annotations

import logging
import os
import shutil
import weakref
from pathlib import Path
from typing import IO

from rvq_action.file_lock import lock

LOCK = ".writing"
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
        if path.exists() and not append:
            raise FileExistsError(
                f"{path} exists. Give another path, delete it, or pass append=True to add episodes."
            )
        if self.root.exists():
            self._lock().close()
            logger.warning("Discarding %s, left behind by a writer that did not finish.", self.root)
            shutil.rmtree(self.root)
        self.root.mkdir(parents=True)
        self._lock_file = self._lock()
        weakref.finalize(self, self._lock_file.close)
        if path.exists():
            shutil.copytree(path, self.root, copy_function=_link, dirs_exist_ok=True)

    def finish(self) -> None:
        """Put the staging folder in the place of the dataset."""
        previous = _previous_path(self.path)
        if self.path.exists():
            shutil.rmtree(previous, ignore_errors=True)
            self.path.rename(previous)
        self._lock_file.close()
        (self.root / LOCK).unlink()
        self.root.rename(self.path)
        shutil.rmtree(previous, ignore_errors=True)

    def discard(self) -> None:
        """Delete the staging folder; a complete dataset at `path` stays as it is."""
        self._lock_file.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def _lock(self) -> IO[bytes]:
        """The lock of the folder, held while the file is open."""
        file = (self.root / LOCK).open("ab")
        if not lock(file):
            file.close()
            raise FileExistsError(
                f"Another writer is at {self.path}: it has {self.root}, and nothing of it was "
                "touched. Let it finish, or give another path."
            )
        return file


def replace_text(path: Path, text: str) -> None:
    """Write a text file through a new inode, so that hard links to the old one keep theirs."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
