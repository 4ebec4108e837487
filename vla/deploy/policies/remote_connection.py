"""The connection to a policy server: opened again, with growing pauses, whenever it broke."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vla.deploy.policies.wire import pack, unpack
from vla.deploy.server.access import MAX_BYTES

logger = logging.getLogger(__name__)
CLOSE_S = 0.5
"""A server that does not say goodbye for so long is left without it."""
REFUSED = 401, 403


class PolicyUnavailable(RuntimeError):
    """There is no chunk now; asking again later may give one."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, in seconds.

    Attributes:
        connect_s: A connection may take so long, its metadata included.
        answer_s: A chunk may take so long; then the connection is given up.
        pause_s: After a failed attempt to connect no other one is made for so long; twice as long
            after each further one.
        longest_pause_s: The pauses grow up to that.
    """

    connect_s: float = 5.0
    answer_s: float = 10.0
    pause_s: float = 0.05
    longest_pause_s: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be a positive number of seconds, got {value}.")


@dataclass(frozen=True)
class Server:
    """Where a server is.

    Attributes:
        url: Of its websocket.
        key: That it asks for.
    """

    url: str
    key: str | None = field(default=None, repr=False)

    @classmethod
    def at(cls, host: str, port: int | None, key: str | None) -> Server:
        """As openpi's clients name it."""
        url = host if host.startswith(("ws://", "wss://")) else f"ws://{host}"
        return cls(url if port is None else f"{url}:{port}", key)


class PolicyServerConnection:
    """One server, asked one thing at a time.

    Args:
        server: Where it is.
        patience: How long it is waited for.
        now: Time for the pauses [s].

    Attributes:
        metadata: What it declared at first, and has to declare whenever it comes back.

    Raises:
        PolicyUnavailable: It is not there.
        ValueError: It wants another key.
    """

    def __init__(
        self,
        server: Server,
        patience: Patience | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server, self._patience, self._now = server, patience or Patience(), now
        self._failures, self._again = 0, 0.0
        self._socket: Any = None
        self._open = contextlib.ExitStack()
        self.metadata: Any = None
        self.open()

    def ask(self, message: dict[str, Any]) -> Any:
        """The answer to a message.

        Raises:
            PolicyUnavailable: There is none; says why.
        """
        from websockets.exceptions import ConnectionClosed

        socket = self.open()
        try:
            socket.send(pack(message))
            answer = socket.recv(self._patience.answer_s)
        except TimeoutError as error:
            self.close()
            told = f"{self._server.url} has not answered for {self._patience.answer_s:g} s."
            raise PolicyUnavailable(told) from error
        except (ConnectionClosed, OSError) as error:
            self.close()
            raise PolicyUnavailable(f"{self._server.url} has gone: {error}.") from error
        if isinstance(answer, str):
            raise PolicyUnavailable(f"{self._server.url} answered: {answer}")
        return unpack(answer)

    def open(self) -> Any:
        """The connection; a new one where there is none.

        Raises:
            PolicyUnavailable: The server is not there, or not the one that it was.
            ValueError: It wants another key.
        """
        if (socket := self._socket) is not None:
            return socket
        if (left := self._again - self._now()) > 0:
            told = f"{self._server.url} is away; it is tried again in {left:.2f} s."
            raise PolicyUnavailable(told)
        try:
            self._socket = socket = self._connect()
            self._recognize(socket)
        except (PolicyUnavailable, ValueError):
            self._failures += 1
            pause = self._patience.pause_s * 2 ** min(self._failures - 1, 30)
            self._again = self._now() + min(pause, self._patience.longest_pause_s)
            self.close()
            raise
        if self._failures:
            logger.info("%s is back.", self._server.url)
        self._failures = 0
        return socket

    def close(self) -> None:
        """A second call does nothing."""
        self._socket = None
        self._open.close()

    def _connect(self) -> Any:
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect

        url, key = self._server.url, self._server.key
        headers = {"Authorization": f"Api-Key {key}"} if key else None
        told: dict[str, Any] = {"compression": None, "max_size": MAX_BYTES}
        told |= {"open_timeout": self._patience.connect_s, "close_timeout": CLOSE_S}
        try:
            return self._open.enter_context(connect(url, additional_headers=headers, **told))
        except InvalidStatus as error:
            if error.response.status_code in REFUSED:
                text = (error.response.body or b"").decode(errors="replace").strip()
                raise ValueError(f"{url} refuses: {text}") from error
            raise PolicyUnavailable(f"{url} is no policy server: {error}.") from error
        except (OSError, WebSocketException) as error:
            text = f"{url} cannot be reached: {error}. Start it with `rvq-vla serve`."
            raise PolicyUnavailable(text) from error

    def _recognize(self, socket: Any) -> None:
        """Read what the server declares; refuse another policy in the place of the first one."""
        from websockets.exceptions import ConnectionClosed

        try:
            data = socket.recv(self._patience.connect_s)
        except (ConnectionClosed, OSError) as error:
            told = f"{self._server.url} lets nobody in now: {error}."
            raise PolicyUnavailable(told) from error
        metadata = unpack(data)
        if self.metadata is None:
            self.metadata = metadata
        elif metadata != self.metadata:
            keys = {*self.metadata, *metadata} if isinstance(metadata, dict) else set()
            changed = sorted(k for k in keys if self.metadata.get(k) != metadata.get(k))
            raise PolicyUnavailable(
                f"{self._server.url} has come back with another policy: other {changed}. Start the "
                "run anew for that one."
            )
