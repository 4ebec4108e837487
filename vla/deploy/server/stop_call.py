"""An emergency stop by call: `GET /stop`, from whoever has the key.

    curl -H "Authorization: Api-Key KEY" http://HOST:PORT/stop

It is the robot's side that listens: the program that runs the control loop, beside its signals and
keys. A policy server has no robot to stop.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus

from vla.deploy.safety.estop import EmergencyStop
from vla.deploy.server.access import Address, Door, Page
from vla.deploy.server.hosting import ServerThread
from vla.deploy.server.listener import Listener

STOP = "/stop"
PRESS_S = 1.0
"""The robot's answer is waited for so long [s]; a later call must still be heard."""


def stop_pages(stop: EmergencyStop) -> dict[str, Callable[[], Page]]:
    """The page that presses a stop, for a server that is there already."""

    def press() -> Page:
        told = ("a call of the server",)
        thread = threading.Thread(target=stop.press, args=told, name="stop by call", daemon=True)
        thread.start()
        thread.join(PRESS_S)
        if thread.is_alive() or stop.is_owed:
            return Page(
                HTTPStatus.ACCEPTED, "Pressed, but the robot is not stopped: cut its power.\n"
            )
        return Page(HTTPStatus.OK, f"Stopped: {stop.reason}.\n")

    return {STOP: press}


@contextlib.contextmanager
def by_call(stop: EmergencyStop, address: Address) -> Iterator[int]:
    """Let a call press it, for any robot: `with by_call(stop, address): run(..., stop=stop)`.

    A listener that ends before its time presses it, too: whoever counts on it would call in vain.

    Yields:
        The port that is listened on.

    Raises:
        OSError: The address cannot be listened on.
    """

    def lost(error: BaseException) -> None:
        stop.press(f"nobody listens for {STOP} any more: {type(error).__name__}: {error}")

    door = Door(address, pages=stop_pages(stop), has_sockets=False)
    with ServerThread(Listener(address, door), lost) as port:
        yield port
