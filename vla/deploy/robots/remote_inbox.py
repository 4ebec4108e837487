"""Inbox: the newest message of a connection, and how old it may be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

BEAT_S = 0.02
"""It is looked so often whether there is really nothing [s]."""


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
            The message, and when it may have come at the earliest [s]: at any time since there was
            nothing, for this process may have stood still meanwhile.
        """
        while True:
            begin, waiting = self._now(), await self._waiting()
            since, self._empty = self._empty, begin
            if waiting is not None:
                return waiting, since
            try:
                async with asyncio.timeout(BEAT_S):
                    return await self._connection.recv(), begin
            except TimeoutError:
                continue

    async def _waiting(self) -> str | bytes | None:
        """The last message that is there, once what has reached this machine has been taken in."""
        newest = None
        for _ in range(2):
            await asyncio.sleep(0)
        while (later := await self._next()) is not None:
            newest = later
        return newest

    async def _next(self) -> str | bytes | None:
        try:
            async with asyncio.timeout(0):
                return await self._connection.recv()
        except TimeoutError:
            return None
