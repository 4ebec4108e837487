"""EmergencyStop: by call, by signal, by key (keys.py). The first one counts.

Signals reach it even where the main thread is stuck in a call: Python writes their number into a
socket as they come, and a thread reads it. That takes Python's lock, as everything here does: a
call in this process that keeps it keeps the stop waiting, too.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

logger = logging.getLogger(__name__)
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGQUIT", "SIGTSTP", "SIGBREAK")
    if hasattr(signal, name)
)
"""Those that the platform has; SIGHUP comes where a terminal is closed or a connection is lost,
SIGQUIT by Ctrl-\\, SIGTSTP by Ctrl-Z, which would else leave a robot moving with nobody awake."""
SAME_HAND_S = 1.0
"""Signals that follow the first one so soon are the same alarm."""


class EmergencyStop:
    """Pressed once, it stays pressed.

    Attributes:
        pressed: Set when it is.
        reason: By whom.
        interrupts: Whether a signal also interrupts the program.
    """

    def __init__(self) -> None:
        self.pressed = threading.Event()
        self.reason, self.interrupts = "", False
        self._owed: list[Callable[[], None]] = []
        self._naming, self._acting = threading.Lock(), threading.Lock()

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """While nothing moves yet: the program may be waiting for a robot, or for a person."""
        self.interrupts = True
        try:
            yield
        finally:
            self.interrupts = False

    def on_press(self, call: Callable[[], None]) -> None:
        """Have something done at once, in the thread that presses."""
        self._owed.append(call)

    @property
    def is_owed(self) -> bool:
        """Whether something is still to be done, or being done."""
        return bool(self._owed)

    def press(self, reason: str) -> None:
        """Stop. From any thread; another call does what has failed before, and nothing else."""
        with self._naming:
            is_first = not self.pressed.is_set()
            self.reason = self.reason or reason
            self.pressed.set()
        failures = self._act()
        if is_first:
            logger.error("Emergency stop: %s.", reason)
        for failure in failures:
            logger.error("The robot could not be stopped.", exc_info=failure)

    def _act(self) -> list[Exception]:
        """Do what is still to be done; what went wrong. Nothing where another thread is at it."""
        if not self._acting.acquire(blocking=False):
            return []
        failures = []
        try:
            for call in tuple(self._owed):
                try:
                    call()
                    self._owed.remove(call)
                except Exception as error:
                    failures.append(error)
        finally:
            self._acting.release()
        return failures


@contextlib.contextmanager
def by_signal(stop: EmergencyStop, signals: Sequence[int] = SIGNALS) -> Iterator[None]:
    """Let signals press it. They reach the main thread alone; in another one nothing changes.

    One that comes more than `SAME_HAND_S` after the first interrupts the program, which may be
    stuck, and any does while the stop is `interrupting`.
    Whatever the signals did before they do again in the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = socket.socketpair()
    write.setblocking(False)
    came: list[float] = []

    def count(number: int, frame: FrameType | None) -> None:
        came.append(time.monotonic())
        if stop.interrupts or came[-1] - came[0] > SAME_HAND_S:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, count) for number in signals}
    former = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=_listen, args=(read, stop, signals), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        for number, handler in before.items():
            signal.signal(number, handler)
        write.close()
        thread.join()
        read.close()


def _listen(read: socket.socket, stop: EmergencyStop, signals: Sequence[int]) -> None:
    while data := read.recv(1):
        if data[0] in signals:
            stop.press(f"signal {signal.Signals(data[0]).name}")
