"""Conversation: what is said with one client, one message at a time.

An answer is a chunk, or a text that says what is wrong. Texts carry no traceback, but the name of
the request, under which the log tells more.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Any

from vla.deploy.policies.policy import Request
from vla.deploy.policies.wire import pack, unpack
from vla.deploy.server.batching import Asker, Batcher, Outcome, PolicyFailed
from vla.deploy.server.metrics import Metrics
from vla.deploy.server.reading import RequestReader

logger = logging.getLogger(__name__)
SEND_S = 10.0
"""A client that does not read for so long is let go of."""
LONGEST = 500
"""Characters of what a client is told."""
NAMED, SHOWN = 20, 40
"""Keys that the log names, and characters of each: clients choose them."""


class Refusal(ValueError):
    """A message that is not computed.

    Attributes:
        kind: `malformed` or `observation`.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Conversation:
    """With one client.

    Args:
        connection: To it.
        reader: Of its messages.
        batcher: Where they are computed.
        metrics: What is counted.
    """

    def __init__(
        self, connection: Any, reader: RequestReader, batcher: Batcher, metrics: Metrics
    ) -> None:
        self._connection, self._reader = connection, reader
        self._batcher, self._metrics = batcher, metrics
        self._requests, self._total_s = 0, 0.0
        self._asker = Asker()
        self._has_erred = self._is_strange = False

    async def send(self, message: str | bytes) -> None:
        """Raises TimeoutError where the client does not read."""
        size = len(message.encode() if isinstance(message, str) else message)
        await asyncio.wait_for(self._connection.send(message), SEND_S)
        self._metrics.bytes.labels("out").inc(size)

    async def serve(self, data: str | bytes) -> None:
        """Answer one message."""
        begin = time.monotonic()
        self._metrics.bytes.labels("in").inc(len(data))
        answer = await self._answer(data, begin)
        if answer is not None:
            await self.send(answer)
        self._total_s = time.monotonic() - begin
        self._metrics.seconds.labels("total").observe(self._total_s)

    async def _answer(self, data: str | bytes, begin: float) -> str | bytes | None:
        """What is sent; nothing to a client that has gone."""
        name = secrets.token_hex(4)
        try:
            request = await asyncio.to_thread(self._read, data, begin)
            outcome = await self._compute(request)
        except Refusal as refusal:
            return self._refused(name, refusal)
        except PolicyFailed as failure:
            return self._failed(name, failure)
        except Exception as error:
            failure = PolicyFailed("the server failed")
            failure.__cause__ = error
            return self._failed(name, failure)
        self._metrics.request("answered" if outcome else "dropped")
        return self._chunk(request, outcome) if outcome else None

    def _read(self, data: str | bytes, now: float) -> Request:
        """Raises Refusal."""
        if isinstance(data, str):
            raise Refusal("malformed", "a text is no observation; send msgpack in a binary message")
        try:
            message = unpack(data)
        except ValueError as error:
            raise Refusal("malformed", str(error)) from error
        try:
            request = self._reader.read(message, self._requests, now)
        except ValueError as error:
            raise Refusal("observation", str(error)) from error
        self._requests += 1
        unknown = self._reader.unknown(message)
        if unknown and not self._is_strange:
            self._is_strange = True
            names = [key[:SHOWN] for key in unknown[:NAMED]]
            logger.info("%s sends what is not read: %s.", self._client, names)
        return request

    async def _compute(self, request: Request) -> Outcome | None:
        """Nothing where the client goes meanwhile."""
        waiting = self._batcher.submit(request, self._asker)
        computed = asyncio.wrap_future(waiting)
        gone = asyncio.ensure_future(self._connection.wait_closed())
        try:
            await asyncio.wait({computed, gone}, return_when=asyncio.FIRST_COMPLETED)
            return computed.result() if computed.done() else None
        finally:
            waiting.cancel()
            gone.cancel()

    def _chunk(self, request: Request, outcome: Outcome) -> bytes:
        self._metrics.seconds.labels("queue").observe(outcome.queue_s)
        timing = {
            "queue_ms": outcome.queue_s * 1e3,
            "infer_ms": outcome.inference_s * 1e3,
            "batch_size": outcome.batch,
            "prev_total_ms": self._total_s * 1e3,
        }
        told = {"number": request.number, "server_timing": timing}
        return pack({"actions": outcome.actions, **told})

    def _refused(self, name: str, refusal: Refusal) -> str:
        """The first refusal is worth a line of the log; a flood of them is not."""
        self._metrics.error(refusal.kind)
        self._metrics.request("refused")
        level = logging.DEBUG if self._has_erred else logging.WARNING
        self._has_erred = True
        text = f"Refused (request {name}): {_line(refusal)}."
        logger.log(level, "%s: %s", self._client, text)
        return text

    def _failed(self, name: str, failure: PolicyFailed) -> str:
        """A ValueError tells a user what to mend; what else went wrong only the log says."""
        self._metrics.error("policy")
        self._metrics.request("failed")
        cause = failure.__cause__
        logger.error("Request %s of %s failed.", name, self._client, exc_info=cause or failure)
        if cause is None or isinstance(cause, ValueError):
            return f"The policy failed (request {name}): {_line(cause or failure)}"
        return f"The policy failed (request {name}); the log of the server says why."

    @property
    def _client(self) -> str:
        place = self._connection.remote_address
        return f"{place[0]}:{place[1]}" if place else "A client that has gone"


def _line(error: BaseException) -> str:
    """One line of what is wrong."""
    words = str(error).splitlines()
    return words[0][:LONGEST].removesuffix(".") if words else type(error).__name__
