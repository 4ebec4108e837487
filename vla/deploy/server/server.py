"""PolicyServer: a policy behind openpi's protocol, for several clients at once.

    connect      ->  metadata, a map: what the policy wants (declaration.py)
    observation  ->  {"actions": float32 [H, D], "number": n, "server_timing": {...}}
    anything else -> a text that says what is wrong; the connection goes on

Every client has one request at a time: while it is answered nothing more of that client is read.
What is unpacked is unpacked in threads, what is computed is computed in one thread of its own, and
nobody who does not read, does not write or goes away keeps the others waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vla.deploy.policies.wire import pack
from vla.deploy.server.access import MAX_BYTES, Address, Door
from vla.deploy.server.batching import Batcher, BatchSettings
from vla.deploy.server.conversation import Conversation
from vla.deploy.server.declaration import STATE, Declaration
from vla.deploy.server.guests import TRY_LATER, Guest, Guests
from vla.deploy.server.lobby import Lobby, sockets_logger
from vla.deploy.server.metrics import Metrics
from vla.deploy.server.reading import RequestReader
from vla.deploy.server.served import ServedPolicy, first_request

logger = logging.getLogger(__name__)
GOING_AWAY = 1001
ENDED = {1009: "oversized", TRY_LATER: "idle"}
"""Why a client was let go of -> how that is counted."""
OPENING = 64
"""Connections that are being opened at once."""
OPEN_S, CLOSE_S = 5.0, 2.0
"""A client that does not open or close a connection for so long is let go of [s]."""
PING_S = 20.0
"""Clients are pinged so often, and let go of when they have not answered for as long [s]."""
STUCK_S = 30.0
"""A policy that has not come back for so long is not healthy [s]."""
FINISH_S = 10.0
"""Requests that run when the server ends have so long [s]."""


@dataclass(frozen=True)
class ServerSettings:
    """How a policy is served.

    Attributes:
        batch: How requests are put together.
        max_bytes: Of a message.
        max_clients: Connected at once.
        state_key: Of the state in an observation.
        max_per_address: Of them, from one address that is not this machine's own.
    """

    batch: BatchSettings = field(default_factory=BatchSettings)
    max_bytes: int = MAX_BYTES
    max_clients: int = 32
    state_key: str = STATE
    max_per_address: int = 16

    def __post_init__(self) -> None:
        if self.max_bytes < 1024 or min(self.max_clients, self.max_per_address) < 1:
            told = self.max_bytes, self.max_clients, self.max_per_address
            raise ValueError(
                "max_bytes starts at 1024, max_clients and max_per_address at 1, got "
                f"{', '.join(map(str, told))}."
            )


class PolicyServer:
    """One policy, one address.

    Args:
        policy: The policy, warm or not.
        address: Where.
        settings: How.

    Raises:
        ValueError: Two parts of an observation have the same key.
    """

    def __init__(
        self, policy: ServedPolicy, address: Address, settings: ServerSettings | None = None
    ) -> None:
        self.policy, self.address = policy, address
        self.settings = told = settings or ServerSettings()
        self.declaration = Declaration.of(policy, told.state_key, told.max_bytes)
        self.metrics = Metrics()
        self._reader = RequestReader(self.declaration, policy.check)
        self._door = Door(
            address, self._unwell, {"/metrics": self.metrics.page}, self.metrics.error
        )
        self._guests = Guests(told.max_clients, told.max_per_address)
        self._lobby = Lobby(OPENING)
        self._pending = 0
        self._batcher: Batcher | None = None
        self._is_warm = self._is_closing = False

    async def run(
        self, ending: asyncio.Event, listening: Callable[[int], None] = lambda port: None
    ) -> None:
        """Serve until the event is set, finish what runs, and close.

        Args:
            ending: Ends it.
            listening: Told the port, when the policy is warm.

        Raises:
            OSError: The address cannot be listened on.
            PolicyFailed: The policy gives no chunk for the first request.
            TimeoutError: In the end the policy did not come back.
        """
        from websockets.asyncio.server import serve

        batch = self.settings.batch
        self._batcher = Batcher(self.policy, batch, lambda: len(self._guests), self._count_batch)
        place = self.address.host, self.address.port
        told: dict[str, Any] = {"process_request": self._door.admit, "logger": sockets_logger}
        told |= {"max_size": self.settings.max_bytes, "max_queue": 1, "compression": None}
        told |= {"open_timeout": OPEN_S, "close_timeout": CLOSE_S}
        told |= {"ping_interval": PING_S, "ping_timeout": PING_S}
        told |= {"create_connection": self._lobby.connection()}
        try:
            async with serve(self._talk, *place, **told) as server:
                await self._warm_up()
                listening(next(iter(server.sockets)).getsockname()[1])
                await ending.wait()
                self._is_closing = True
                await self._finish()
        finally:
            self._is_warm = False
            is_back = await asyncio.to_thread(self._batcher.close, FINISH_S)
        if not is_back:
            raise TimeoutError("The policy hangs; it was left behind.")

    async def _warm_up(self) -> None:
        assert self._batcher is not None
        begin = time.monotonic()
        await asyncio.wrap_future(self._batcher.submit(first_request(self.policy)))
        logger.info("The policy is warm after %.1f s.", time.monotonic() - begin)
        self._is_warm = True
        self.metrics.ready.set(1)

    async def _finish(self) -> None:
        """Wait for the requests that run, but not for ever."""
        end = time.monotonic() + FINISH_S
        while self._pending and time.monotonic() < end:
            await asyncio.sleep(0.01)

    def _unwell(self) -> str:
        """Why it cannot serve; nothing where it can."""
        if self._is_closing:
            return "The server is going away."
        if not self._is_warm or self._batcher is None:
            return "The policy is not warm yet."
        busy = self._batcher.busy_s
        return f"The policy has not come back for {busy:.0f} s." if busy > STUCK_S else ""

    async def _talk(self, connection: Any) -> None:
        """One client, from its coming to its going."""
        self._lobby.leave(connection.transport)
        guest = self._guests.admit(connection)
        if guest is None:
            self.metrics.error("busy")
            await connection.close(TRY_LATER, "Too many clients.")
            return
        self._count_clients()
        try:
            await self._listen(guest)
        except TimeoutError:
            self.metrics.error("slow")
            logger.warning("%s does not read what it is sent.", connection.remote_address)
            connection.transport.abort()
        finally:
            self._guests.leave(guest)
            self._count_clients()

    async def _listen(self, guest: Guest) -> None:
        from websockets.exceptions import ConnectionClosed

        assert self._batcher is not None
        connection = guest.connection
        client = Conversation(connection, self._reader, self._batcher, self.metrics)
        try:
            await client.send(pack(self.declaration.to_metadata()))
            async for data in connection:
                if self._is_closing:
                    return await connection.close(GOING_AWAY, "The server is going away.")
                self._pending += 1
                try:
                    with guest.asking():
                        await client.serve(data)
                finally:
                    self._pending -= 1
        except ConnectionClosed as closed:
            if closed.sent is not None and closed.sent.code in ENDED:
                self.metrics.error(ENDED[closed.sent.code])
            logger.info("The connection of %s broke: %s.", connection.remote_address, closed)

    def _count_clients(self) -> None:
        self.metrics.clients.set(len(self._guests))

    def _count_batch(self, size: int, seconds: float) -> None:
        self.metrics.batch.observe(size)
        self.metrics.seconds.labels("inference").observe(seconds)
