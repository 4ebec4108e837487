"""A lock on an open file: gone when all processes that have the file open are, however they end."""

from __future__ import annotations

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
