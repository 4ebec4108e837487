"""Guests: the clients of a policy server, and who of them makes room for one who comes.

Where there is room for one more, nobody. Else whoever has said nothing for long, at the address
that has the most clients: first those who never asked. Where there is none such, nobody, either.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vla.deploy.server.access import is_own
from vla.deploy.server.lobby import address_of

SILENT_S, IDLE_S = 1.0, 60.0
"""Who has not asked yet, and who has, may be let go of after so long without a word [s]."""
TRY_LATER = 1013


@dataclass(eq=False)
class Guest:
    """One client.

    Attributes:
        connection: To it.
        address: Where it comes from.
        since: When it was last heard of, or answered [s].
        has_asked: Whether it ever was.
        is_busy: Whether it waits for an answer.
    """

    connection: Any
    address: str
    since: float
    has_asked: bool = False
    is_busy: bool = False

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """While it is answered."""
        self.is_busy = self.has_asked = True
        try:
            yield
        finally:
            self.is_busy, self.since = False, time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether it may be let go of."""
        patience = IDLE_S if self.has_asked else SILENT_S
        return not self.is_busy and time.monotonic() - self.since >= patience


class Guests:
    """Those of one server.

    Args:
        most: At once.
        per_address: Of one address, but for this machine's own: tunnels and proxies stand behind
            that.
    """

    def __init__(self, most: int, per_address: int) -> None:
        self._most, self._per_address = most, per_address
        self._guests: list[Guest] = []
        self._going: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._guests)

    def admit(self, connection: Any) -> Guest | None:
        """Somebody who has come; None where there is no room, and nobody who could make some."""
        guest = Guest(connection, address_of(connection.transport), time.monotonic())
        neighbours = [one for one in self._guests if one.address == guest.address]
        is_crowded = len(neighbours) >= self._per_address and not is_own(guest.address)
        crowd = neighbours if is_crowded else self._guests
        if (is_crowded or len(self) >= self._most) and not self._make_room(crowd):
            return None
        self._guests.append(guest)
        return guest

    def leave(self, guest: Guest) -> None:
        """It has gone; a second call does nothing."""
        if guest in self._guests:
            self._guests.remove(guest)

    def _make_room(self, crowd: Sequence[Guest]) -> bool:
        many = Counter(one.address for one in self._guests)
        idle = [one for one in crowd if one.is_idle]
        if not idle:
            return False
        guest = min(idle, key=lambda one: (-many[one.address], one.has_asked, one.since))
        self.leave(guest)
        told = TRY_LATER, "Others need the place of who says nothing."
        going = asyncio.get_running_loop().create_task(guest.connection.close(*told))
        self._going.add(going)
        going.add_done_callback(self._going.discard)
        return True
