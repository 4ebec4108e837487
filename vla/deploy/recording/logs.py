"""Logs that nobody waits for.

A terminal that stands still (Ctrl-S, a frozen connection, a pipe that nobody reads) keeps whoever
writes to it waiting, and all who log behind him. While a robot is driven, what is logged goes into
a queue, and a thread of its own passes it on.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener

FLUSH_S = 1.0
"""For which the rest is waited for in the end. Where it takes longer it is told later, or never."""


class _Queue:
    """Stands in the root logger's handlers' place, for as long as anybody asks for it."""

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._handlers: list[logging.Handler] = []

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._begin()

    def leave(self, patience: float) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._end(patience)

    def _begin(self) -> None:
        root, last = logging.getLogger(), logging.lastResort
        self._handlers = list(root.handlers)
        entries: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._own = QueueHandler(entries)
        targets = self._handlers or ([last] if last else [])
        self._listener = QueueListener(entries, *targets, respect_handler_level=True)
        for handler in self._handlers:
            root.removeHandler(handler)
        root.addHandler(self._own)
        self._listener.start()

    def _end(self, patience: float) -> None:
        """`QueueListener.stop` waits for ever where a handler does."""
        root = logging.getLogger()
        root.removeHandler(self._own)
        for handler in self._handlers:
            root.addHandler(handler)
        closing = threading.Thread(target=self._listener.stop, name="last logs", daemon=True)
        closing.start()
        closing.join(patience)


_QUEUE = _Queue()


@contextlib.contextmanager
def logging_aside(patience: float = FLUSH_S) -> Iterator[None]:
    """Let nobody wait for a handler of the root logger, from any thread.

    Args:
        patience: How long [s] to wait in the end for what has not been told yet.
    """
    _QUEUE.enter()
    try:
        yield
    finally:
        _QUEUE.leave(patience)
