"""EmergencyStop: by call, by signal, by key. The first one counts.

Signals reach it even where the main thread is stuck in a call: Python writes their number into a
pipe as they come, and a thread reads it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

logger = logging.getLogger(__name__)
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)
)
"""Those that the platform has; SIGHUP comes where a terminal is closed or a connection is lost."""
SAME_HAND_S = 1.0
"""Signals that follow the first one so soon are the same alarm."""
KEYS = b" q\x1b"
"""Space, q and Escape."""


class EmergencyStop:
    """Pressed once, it stays pressed.

    Attributes:
        pressed: Set when it is.
        reason: By whom.
    """

    def __init__(self) -> None:
        self.pressed = threading.Event()
        self.reason = ""
        self._owed: list[Callable[[], None]] = []
        self._naming, self._acting = threading.Lock(), threading.Lock()

    def on_press(self, call: Callable[[], None]) -> None:
        """Have something done at once, in the thread that presses."""
        self._owed.append(call)

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
    """Let signals press it; from the main thread only.

    One that comes more than `SAME_HAND_S` after the first interrupts the program, which may be
    stuck.
    Whatever the signals did before they do again in the end.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    came: list[float] = []

    def count(number: int, frame: FrameType | None) -> None:
        came.append(time.monotonic())
        if came[-1] - came[0] > SAME_HAND_S:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, count) for number in signals}
    former = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    thread = threading.Thread(target=_listen, args=(read, stop, signals), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(write)
        thread.join()
        os.close(read)


def _listen(read: int, stop: EmergencyStop, signals: Sequence[int]) -> None:
    while data := os.read(read, 1):
        if data[0] in signals:
            stop.press(f"signal {signal.Signals(data[0]).name}")


@contextlib.contextmanager
def by_key(stop: EmergencyStop, terminal: int | None = None) -> Iterator[bool]:
    """Let the keys space, q and Escape press it, and the loss of the terminal: nobody else could.

    Args:
        stop: The stop.
        terminal: File descriptor; standard input where None.

    Yields:
        Whether there is a terminal whose keys can be heard.
    """
    import select
    import termios
    import tty

    number = _standard_input() if terminal is None else terminal
    if number is None or not os.isatty(number):
        yield False
        return
    before, ended = termios.tcgetattr(number), threading.Event()

    def listen() -> None:
        while not ended.is_set():
            try:
                ready, _, _ = select.select([number], [], [], 0.1)
                key = os.read(number, 1) if ready else None
            except OSError:
                key = b""
            if key == b"":
                stop.press("the terminal is gone")
                return
            if key and key in KEYS:
                stop.press(f"key {key.decode()!r}")

    tty.setcbreak(number)
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield True
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(number, termios.TCSADRAIN, before)


def _standard_input() -> int | None:
    """None where there is none, as in a service."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None
