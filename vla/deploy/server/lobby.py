"""Lobby: those who have connected, but have not been let in yet. There is room for a few.

A connection that says nothing costs a file of the process until its time to open is over. Where
more come than there is room for, the oldest of the address that has the most of them is let go of:
a crowd keeps itself out, and nobody else.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

sockets_logger = logging.getLogger(f"{__name__}.sockets")
sockets_logger.setLevel(logging.ERROR)
STRANGE = "opening handshake failed", "parser failed"
"""Whoever speaks something else fills no log with tracebacks."""
sockets_logger.addFilter(lambda record: record.msg not in STRANGE)


class Lobby:
    """Of one server.

    Args:
        most: Connections that wait there at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Any, str] = {}

    def enter(self, transport: Any) -> None:
        """Somebody has connected."""
        self._waiting[transport] = address_of(transport)
        if len(self._waiting) > self._most:
            ((crowded, _),) = Counter(self._waiting.values()).most_common(1)
            oldest = next(one for one, address in self._waiting.items() if address == crowded)
            self.leave(oldest)
            oldest.abort()

    def leave(self, transport: Any) -> None:
        """He was let in, or has gone."""
        self._waiting.pop(transport, None)

    def connection(self) -> Any:
        """For `create_connection` of websockets' servers."""
        from websockets.asyncio.server import ServerConnection

        lobby = self

        class Visitor(ServerConnection):
            def connection_made(self, transport: Any) -> None:
                lobby.enter(transport)
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                lobby.leave(self.transport)
                super().connection_lost(exc)

        return Visitor


def address_of(transport: Any) -> str:
    """Whence a connection comes, without the port; empty where it has gone already."""
    place = transport.get_extra_info("peername")
    return str(place[0]) if place else ""
