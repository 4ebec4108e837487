"""Who is let in: by this machine's own address or with a key, and no browsers.

Beside websockets there are pages: what `GET /path` gives. `/healthz` is for everybody, all others
ask for the key where there is one, as websockets do.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

MAX_BYTES = 16 << 20
"""Of a message: four pictures of 1024 x 1024 and room to spare."""
MAX_PORT = 65535


@dataclass(frozen=True)
class Address:
    """Where clients are listened for.

    Attributes:
        host: An address of this machine; 127.0.0.1 reaches nobody else.
        port: 0 for any that is free.
        key: That a client must show, as `Authorization: Api-Key KEY`.

    Raises:
        ValueError: No such port, an unusable key, or none where others can reach the host.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MAX_PORT:
            raise ValueError(f"port must be 0 to {MAX_PORT}, got {self.port}.")
        if self.key is not None and not _can_be_shown(self.key):
            raise ValueError(
                "The key is empty, or holds spaces or letters that a header cannot carry. Make one "
                'with: python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        if self.key is None and not is_own(self.host):
            raise ValueError(
                f"Whoever reaches {self.host} could speak here, and robots move by what is said. "
                "Give a key, or listen on 127.0.0.1."
            )


class Page(NamedTuple):
    """What a path gives."""

    status: HTTPStatus
    text: str
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Door:
    """Looks at every request before it becomes a websocket.

    Attributes:
        address: Whose key is asked for.
        health: Says why `/healthz` is to answer 503; nothing where all is well.
        pages: Path -> what it gives.
        refused: Told of everyone who is not let in: `key` or `browser`.
        has_sockets: Whether there is anything here but pages.
    """

    address: Address
    health: Callable[[], str] = lambda: ""
    pages: Mapping[str, Callable[[], Page]] = field(default_factory=dict)
    refused: Callable[[str], None] = lambda kind: None
    has_sockets: bool = True

    def admit(self, connection: Any, request: Any) -> Any:
        """For `process_request` of websockets' servers: None to go on, a response to end here."""
        page = self._page(request.path.split("?")[0], request.headers)
        if page is None:
            return None
        response = connection.respond(page.status, page.text)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = page.content_type
        return response

    def _page(self, path: str, headers: Any) -> Page | None:
        if path == "/healthz":
            problem = self.health()
            status = HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK
            return Page(status, f"{problem or 'OK'}\n")
        if _is_browsed(headers):
            self.refused("browser")
            return Page(HTTPStatus.FORBIDDEN, "Pages of a browser are not served.\n")
        if not self._has_key(headers):
            self.refused("key")
            told = "Wrong key, or none: show it as `Authorization: Api-Key KEY`.\n"
            return Page(HTTPStatus.UNAUTHORIZED, told)
        if path in self.pages:
            return self.pages[path]()
        known = ", ".join(["/healthz", *self.pages])
        return None if self.has_sockets else Page(HTTPStatus.NOT_FOUND, f"There are {known}.\n")

    def _has_key(self, headers: Any) -> bool:
        if self.address.key is None:
            return True
        shown = headers.get_all("Authorization")
        wanted = f"Api-Key {self.address.key}".encode()
        given = shown[0].encode(errors="surrogateescape") if len(shown) == 1 else b""
        return hmac.compare_digest(given, wanted)


def _is_browsed(headers: Any) -> bool:
    """Whether a page of another site asks through a browser, which reaches this machine too."""
    sites = headers.get_all("Sec-Fetch-Site")
    return bool(headers.get_all("Origin")) or any(site != "none" for site in sites)


def _can_be_shown(key: str) -> bool:
    return bool(key) and key.isascii() and key.isprintable() and " " not in key


def is_own(host: str) -> bool:
    """Whether a host, or the address of a client, is this machine's own (loopback)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
