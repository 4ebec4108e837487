"""Journal: JSON lines that are on their way to the disk as soon as they are written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """Append-only, one system call a line: whoever kills the process loses no line before it.

    Args:
        path: A file that is not there yet.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)

    def write(self, entry: dict[str, Any]) -> None:
        """Write one line.

        Raises:
            OSError: It could not be written whole; the journal must not be gone on with.
        """
        line = (json.dumps(entry, allow_nan=False) + "\n").encode()
        while line:
            line = line[os.write(self._file, line) :]

    def close(self) -> None:
        os.close(self._file)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal; a last one that was torn by a kill or a full disk is left out.

    Raises:
        ValueError: Another line is no JSON object.
    """
    lines = path.read_bytes().split(b"\n")
    entries = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            entries.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}, is damaged ({error}).") from error
    return entries
