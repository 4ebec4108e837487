"""RobotServer: the websocket that one robot's program talks to, in openpi's protocol.

Who may come is decided in access.py. What is wrong with a message is said in a text frame, without
a traceback, and the connection goes on. Until the control loop answers, the robot is told to stay
where it is. In the end it still gets the last answer, if it has not had it, and refusals after.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from vla.deploy.policies.wire import pack, unpack
from vla.deploy.robots.remote_inbox import Inbox
from vla.deploy.server.access import Address, Door, Page
from vla.deploy.server.hosting import ServerThread
from vla.deploy.server.listener import Listener

logger = logging.getLogger(__name__)
ANSWER_S = 1.0
"""A question that the control loop does not answer for so long is refused."""
SILENCE = "The control loop does not answer."
OVER = "The run is over."
TURN_S = 0.5
"""A robot that comes back may find its broken connection still being closed."""


class Answer(NamedTuple):
    """A command [D], and the message that tells it."""

    command: np.ndarray
    message: dict[str, Any]


class Host(Protocol):
    """Whoever a robot's program speaks with."""

    @property
    def is_driven(self) -> bool:
        """Whether the control loop answers by now."""
        ...

    def receive(self, message: Any, since: float) -> None:
        """Take a message that came at this time [s] or later; a ValueError goes to the robot."""
        ...

    def rest(self) -> Answer | None:
        """What keeps the robot where it is; None where that is not known."""
        ...

    def fetched(self, command: np.ndarray) -> None:
        """The robot gets this command [D] now."""
        ...

    def gone(self) -> str:
        """The robot has gone; why no other is answered from now on, empty where one is."""
        ...


class RobotServer:
    """Takes questions from one robot at a time, and gives it the control loop's answers.

    Args:
        address: Where.
        metadata: What a robot is told when it comes.
        host: Whoever it speaks with.
        period: Of the control loop [s].
        now: The time of the loop.
        pages: Path -> what it gives without a websocket.

    Attributes:
        port: That is listened on.
        problem: What was wrong with the last message; empty where nothing was.
    """

    def __init__(
        self,
        address: Address,
        metadata: dict[str, Any],
        host: Host,
        period: float,
        now: Callable[[], float],
        pages: Mapping[str, Callable[[], Page]] | None = None,
    ) -> None:
        self._address, self._metadata = address, metadata
        self._door = Door(address, pages=pages or {})
        self._host, self._period, self._now = host, period, now
        self._news = threading.Condition()
        self._standing: Answer | None = None
        self._is_fresh = False
        self._refusal = self.problem = ""
        self._connection: Any = None
        self._thread: ServerThread | None = None
        self.port = address.port

    @property
    def place(self) -> str:
        """Where it listens, as a robot's program is told it."""
        host = self._address.host
        return f"ws://{f'[{host}]' if ':' in host else host}:{self.port}"

    def start(self) -> None:
        """Listen; a second call does nothing."""
        if self._thread is not None:
            return
        self._talking = asyncio.Lock()
        thread = ServerThread(Listener(self._address, self._door, self._talk), self._lost)
        self.port = thread.start()
        self._thread = thread

    def answer(self, answer: Answer) -> None:
        """Answer the robot's question, if it has one; nothing once it is refused.

        The last answer stands until it is fetched.
        """
        with self._news:
            if not self._refusal:
                self._standing, self._is_fresh = answer, True
                self._news.notify_all()

    def refuse(self, reason: str, last: Answer | None = None) -> None:
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
        self._part()

    async def _talk(self, connection: Any) -> None:
        """One robot's questions, until it goes."""
        from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

        try:
            await asyncio.wait_for(self._talking.acquire(), TURN_S)
        except TimeoutError:
            await connection.close(1013, "Another robot is connected.")
            return
        self._connection = connection
        try:
            await connection.send(pack(self._metadata))
            inbox = Inbox(connection, self._now)
            while True:
                answer = await asyncio.to_thread(self._respond, *await inbox.newest())
                await self._tell(connection, answer)
        except ConnectionClosedOK:
            logger.info("The robot has gone.")
        except ConnectionClosed:
            logger.warning("The robot's connection broke.")
        finally:
            with self._news:
                self._connection = None
                self._news.notify_all()
            self._part()
            self._talking.release()

    def _part(self) -> None:
        """Nobody is there any more."""
        if reason := self._host.gone():
            self.refuse(reason)

    def _respond(self, data: str | bytes, since: float) -> str | Answer:
        """The answer to one message; a text is an error."""
        with self._news:
            self._is_fresh, is_over = False, bool(self._refusal)
        if not is_over and (error := self._take(data, since)):
            return error
        is_driven = self._host.is_driven
        with self._news:
            patience = ANSWER_S if is_driven else self._period
            self._news.wait_for(lambda: self._is_fresh or self._refusal, patience)
            if self._standing is not None and (self._is_fresh or self._refusal):
                return self._standing
            refusal = self._refusal
        return refusal or (None if is_driven else self._host.rest()) or SILENCE

    def _take(self, data: str | bytes, since: float) -> str:
        """Pass an observation on; what is wrong with it."""
        try:
            if isinstance(data, str):
                raise ValueError("a text is no observation")
            self._host.receive(unpack(data), since)
        except (ValueError, TypeError, KeyError) as error:
            self.problem = str(error)
            return f"Refused: {error}"
        self.problem = ""
        return ""

    async def _tell(self, connection: Any, answer: str | Answer) -> None:
        """Send an answer; it no longer stands then, unless a newer one came meanwhile."""
        if isinstance(answer, str):
            await connection.send(answer)
            return
        with self._news:
            refusal = "" if self._standing is answer else self._refusal
        if refusal:
            await connection.send(refusal)
            return
        self._host.fetched(answer.command)
        await connection.send(pack(answer.message))
        with self._news:
            if self._standing is answer:
                self._standing = None
                self._news.notify_all()
