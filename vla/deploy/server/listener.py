"""Listener: a websocket server inside a program that drives a robot: `ServerThread(Listener(...))`.

Whoever comes costs that program no thread, and whoever has not shown in two seconds that he may
come in is let go of. Where the process has no files left it takes nobody until it has again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from vla.deploy.server.access import MAX_BYTES, Address, Door
from vla.deploy.server.lobby import Lobby, sockets_logger

logger = logging.getLogger(__name__)
MOST = 8
"""Connections that are being opened at once."""
OPEN_S, CLOSE_S = 2.0, 2.0
"""A connection may take so long to open, and to close [s]."""
BACKLOG = 32
"""Connections that the system keeps until they are taken."""


async def nobody(connection: Any) -> None:
    """For those who have pages alone."""


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio says again and again while there are no files is one line each."""
    if context["message"].startswith("socket.accept()"):
        logger.error("Nobody can be let in until files are closed: %s.", context.get("exception"))
    else:
        loop.default_exception_handler(context)


@dataclass(frozen=True)
class Listener:
    """Listens at one address.

    Attributes:
        address: Where.
        door: Who is let in.
        talk: What is said with one who was.
    """

    address: Address
    door: Door
    talk: Callable[[Any], Awaitable[None]] = nobody

    async def run(
        self, ending: asyncio.Event, listening: Callable[[int], None] = lambda port: None
    ) -> None:
        """Listen until the event is set; errors as `PolicyServer.run`."""
        from websockets.asyncio.server import serve

        lobby = Lobby(MOST)

        async def talk(connection: Any) -> None:
            lobby.leave(connection.transport)
            await self.talk(connection)

        asyncio.get_running_loop().set_exception_handler(_tell)
        told: dict[str, Any] = {"process_request": self.door.admit, "logger": sockets_logger}
        told |= {"max_size": MAX_BYTES, "compression": None, "backlog": BACKLOG}
        told |= {"open_timeout": OPEN_S, "close_timeout": CLOSE_S}
        told |= {"create_connection": lobby.connection()}
        async with serve(talk, self.address.host, self.address.port, **told) as server:
            listening(next(iter(server.sockets)).getsockname()[1])
            await ending.wait()
