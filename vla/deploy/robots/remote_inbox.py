"""Inbox: the newest message of a connection, and how old it may be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Inbox:
    """Messages of one connection, of which only the newest counts.

    Args:
        connection: The connection.
        now: The time of the loop.
    """

    def __init__(self, connection: Any, now: Callable[[], float]) -> None:
        self._connection, self._now = connection, now
        self._empty = now()
        """When there was nothing for sure."""

    async def newest(self) -> tuple[str | bytes, float]:
        """Wait for a message; those that came before it unread are dropped.

        Returns:
            The message, and when it may have come at the earliest [s]: one that had been waiting
            came at any time since there was nothing.
        """
        data, since = None, self._empty
        while (later := await self._waiting()) is not None:
            data = later
        self._empty = self._now()
        if data is not None:
            return data, since
        data = await self._connection.recv()
        self._empty = self._now()
        return data, self._empty

    async def _waiting(self) -> str | bytes | None:
        try:
            async with asyncio.timeout(0):
                return await self._connection.recv()
        except TimeoutError:
            return None
