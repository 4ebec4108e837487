"""Worker processes that simulate: each with its own OpenGL context, none left behind."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import signal
import threading
from collections.abc import Callable


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def become_worker(close: Callable[[], None]) -> None:
    """Leave Ctrl-C to the parent, and end with it even where it is killed.

    Args:
        close: Called when this process ends in peace.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    multiprocessing.util.Finalize(None, close, exitpriority=10)
