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

from vla.deploy.estop import EmergencyStop
from vla.deploy.server.access import Address, Door, Page

STOP = "/stop"


def stop_pages(stop: EmergencyStop) -> dict[str, Callable[[], Page]]:
    """The page that presses a stop, for a server that is there already."""

    def press() -> Page:
        stop.press("a call of the server")
        return Page(HTTPStatus.OK, f"Stopped: {stop.reason}.\n")

    return {STOP: press}


@contextlib.contextmanager
def by_call(stop: EmergencyStop, address: Address) -> Iterator[int]:
    """Let a call press it, for any robot: `with by_call(stop, address): run(..., stop=stop)`.

    Yields:
        The port that is listened on.

    Raises:
        OSError: The address cannot be listened on.
    """
    from websockets.sync.server import serve

    door = Door(address, pages=stop_pages(stop), has_sockets=False)
    place = address.host, address.port
    server = serve(lambda connection: None, *place, process_request=door.admit, compression=None)
    thread = threading.Thread(target=server.serve_forever, name="stop by call", daemon=True)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join()
