"""by_key: an emergency stop by the keys of a terminal.

While they are listened to Ctrl-Z and Ctrl-\\ stop the robot, too, instead of suspending or killing
whoever could, and Ctrl-S is a key like any other: nothing that is printed waits for Ctrl-Q.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

from vla.deploy.safety.estop import EmergencyStop

KEYS = b" q\x1b\x1a\x1c"
"""Space, q and Escape; Ctrl-Z and Ctrl-\\."""
IS_WINDOWS = os.name == "nt"
LOOK_S = 0.1
Keyboard = Callable[[], bytes | None]
"""The key that came within `LOOK_S`; None where none did, empty where the terminal is gone."""


@contextlib.contextmanager
def by_key(stop: EmergencyStop, terminal: int | None = None) -> Iterator[bool]:
    """Let `KEYS` press it, and the loss of the terminal: nobody else could.

    Args:
        stop: The stop.
        terminal: File descriptor; standard input where None.

    Yields:
        Whether there is a terminal whose keys can be heard.
    """
    number = terminal_number() if terminal is None else terminal
    if number is None or not os.isatty(number):
        yield False
        return
    ended = threading.Event()
    with _windows() if IS_WINDOWS else _unix(number) as keyboard:
        thread = threading.Thread(target=_listen, args=(stop, keyboard, ended), daemon=True)
        thread.start()
        try:
            yield True
        finally:
            ended.set()
            thread.join()


def terminal_number() -> int | None:
    """File descriptor of the terminal that is typed in; None where there is none: a service."""
    try:
        number = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    return number if os.isatty(number) else None


def _listen(stop: EmergencyStop, keyboard: Keyboard, ended: threading.Event) -> None:
    while not ended.is_set():
        key = keyboard()
        if key == b"":
            stop.press("the terminal is gone")
            return
        if key and key in KEYS:
            stop.press(f"key {key.decode()!r}")


@contextlib.contextmanager
def _unix(number: int) -> Iterator[Keyboard]:
    import select
    import termios
    import tty

    def keyboard() -> bytes | None:
        try:
            ready, _, _ = select.select([number], [], [], LOOK_S)
            return os.read(number, 1) if ready else None
        except OSError:
            return b""

    before = termios.tcgetattr(number)
    tty.setcbreak(number)
    mode = termios.tcgetattr(number)
    mode[tty.IFLAG] &= ~termios.IXON
    for special in (termios.VSUSP, termios.VQUIT):
        mode[tty.CC][special] = os.fpathconf(number, "PC_VDISABLE")
    termios.tcsetattr(number, termios.TCSANOW, mode)
    try:
        yield keyboard
    finally:
        with contextlib.suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(number, termios.TCSANOW, before)


@contextlib.contextmanager
def _windows() -> Iterator[Keyboard]:
    console = importlib.import_module("msvcrt")

    def keyboard() -> bytes | None:
        if console.kbhit():
            return bytes(console.getch())
        time.sleep(LOOK_S)
        return None

    yield keyboard
