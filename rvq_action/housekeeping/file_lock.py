"""A lock on an open file: gone when all processes that have the file open are, however they end."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO


def lock(file: IO[bytes]) -> bool:
    """Lock a file for as long as it stays open.

    Returns:
        False where it is locked already, by another process or through another opening. Windows,
        and disks that know no locks, never say so.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True
    return True


def hold(place: Path) -> IO[bytes] | None:
    """Open and lock a file that is there for its lock alone; `let_go` deletes it.

    Returns:
        The file, locked until it is closed; None where another has it.
    """
    while True:
        file = place.open("ab")
        if not lock(file):
            file.close()
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), place.stat()):
                return file
        file.close()  # whoever had it let go of it meanwhile: the next one locks another file


def let_go(file: IO[bytes], place: Path) -> None:
    """Delete a file that is held while it still is, then close it. A second call does nothing."""
    if file.closed:
        return
    with suppress(PermissionError):  # Windows deletes no open file; an unlocked one hurts nobody
        place.unlink(missing_ok=True)
    file.close()
