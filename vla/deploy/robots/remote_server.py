"""RobotServer: the websocket that one robot's program talks to, in openpi's protocol.

Who may come is decided in access.py. What is wrong with a message is said in a text frame, without
a traceback, and the connection goes on. In the end the robot still gets the last answer, if it has
not had it, and refusals after that.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from vla.deploy.server.access import Address, Door, Page
from vla.deploy.server.hosting import ServerThread
from vla.deploy.server.listener import Listener
from vla.deploy.wire import pack, unpack

logger = logging.getLogger(__name__)
ANSWER_S = 1.0
"""A question that the control loop does not answer for so long is refused."""
OVER = "The run is over."
TURN_S = 0.5
"""A robot that comes back may find its broken connection still being closed."""


class RobotServer:
    """Takes questions from one robot at a time, and gives it the control loop's answers.

    Args:
        address: Where.
        metadata: What a robot is told when it comes.
        receive: Takes a message; a ValueError of it goes to the robot.
        gone: Called when the robot has gone.
        pages: Path -> what it gives without a websocket.

    Attributes:
        port: That is listened on.
    """

    def __init__(
        self,
        address: Address,
        metadata: dict[str, Any],
        receive: Callable[[Any], None],
        gone: Callable[[], None],
        pages: Mapping[str, Callable[[], Page]] | None = None,
    ) -> None:
        self._address, self._metadata = address, metadata
        self._door = Door(address, pages=pages or {})
        self._receive, self._gone = receive, gone
        self._news = threading.Condition()
        self._standing: dict[str, Any] | None = None
        self._is_fresh = False
        self._refusal = ""
        self._connection: Any = None
        self._thread: ServerThread | None = None
        self.port = address.port

    def start(self) -> None:
        """Listen; a second call does nothing."""
        if self._thread is not None:
            return
        self._talking = asyncio.Lock()
        thread = ServerThread(Listener(self._address, self._door, self._talk), self._lost)
        self.port = thread.start()
        self._thread = thread

    def answer(self, message: dict[str, Any]) -> None:
        """Answer the robot's question, if it has one; nothing once it is refused.

        The last answer stands until it is fetched.
        """
        with self._news:
            if not self._refusal:
                self._standing, self._is_fresh = message, True
                self._news.notify_all()

    def refuse(self, reason: str, last: dict[str, Any] | None = None) -> None:
        """Answer nothing any more, but for a last answer, once."""
        with self._news:
            self._refusal, self._standing = reason, last
            self._news.notify_all()

    def close(self, patience: float = 0.0) -> None:
        """Stop listening; a second call does nothing.

        Args:
            patience: How long [s] a robot that is there may take to fetch the answer that stands.
        """
        if self._thread is None:
            return
        with self._news:
            self._refusal = OVER
            self._news.notify_all()
            self._news.wait_for(
                lambda: self._standing is None or self._connection is None, patience
            )
        self._thread.close()
        self._thread = None

    def _lost(self, error: BaseException) -> None:
        """The robot's program cannot come any more; what it held on to has broken."""
        logger.error("Port %d is not listened on any more: %s.", self.port, error)
        self._gone()

    async def _talk(self, connection: Any) -> None:
        """One robot's questions, until it goes."""
        from websockets.exceptions import ConnectionClosed

        try:
            await asyncio.wait_for(self._talking.acquire(), TURN_S)
        except TimeoutError:
            await connection.close(1013, "Another robot is connected.")
            return
        self._connection = connection
        try:
            await connection.send(pack(self._metadata))
            async for data in connection:
                answer = await asyncio.to_thread(self._respond, data)
                await connection.send(answer if isinstance(answer, str) else pack(answer))
                self._delivered(answer)
        except ConnectionClosed:
            logger.warning("The robot's connection broke.")
        finally:
            with self._news:
                self._connection = None
                self._news.notify_all()
            self._gone()
            self._talking.release()

    def _respond(self, data: str | bytes) -> str | dict[str, Any]:
        """The answer to one message; a text is an error."""
        with self._news:
            self._is_fresh, is_over = False, bool(self._refusal)
        if not is_over and (error := self._take(data)):
            return error
        with self._news:
            self._news.wait_for(lambda: self._is_fresh or self._refusal, ANSWER_S)
            if self._standing is not None and (self._is_fresh or self._refusal):
                return self._standing
        return self._refusal or "The control loop does not answer."

    def _take(self, data: str | bytes) -> str:
        """Pass an observation on; what is wrong with it."""
        try:
            if isinstance(data, str):
                raise ValueError("a text is no observation")
            self._receive(unpack(data))
        except (ValueError, TypeError, KeyError) as error:
            return f"Refused: {error}"
        return ""

    def _delivered(self, answer: str | dict[str, Any]) -> None:
        """It no longer stands, unless a newer one came meanwhile."""
        with self._news:
            if self._standing is answer:
                self._standing = None
                self._news.notify_all()
