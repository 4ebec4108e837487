"""RemotePolicy: a policy that lives in another process, behind `rvq-vla serve`.

    control loop ── act ── RemotePolicy ══ websocket ══ PolicyServer ── policy

To the loop it is a policy like any other. Where the server is away `act` raises, which the loop
takes for a chunk that does not come: it holds the robot, asks again, goes on when the server is
back, and stops the robot when that takes too long.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vla.deploy.policies.policy import PolicyDescription, Request
from vla.deploy.policies.remote_connection import (
    Patience,
    PolicyServerConnection,
    PolicyUnavailable,
    Server,
)
from vla.deploy.server.declaration import COMMITTED, DELAY, NUMBER, PROMPT, SEED, Declaration
from vla.images import fit


class RemotePolicy:
    """Acts by asking a server.

    Args:
        host: Of the server; `ws://` or `wss://` may stand before it.
        port: Of the server; None where the host says all.
        key: That it asks for.
        cameras: The cameras that it names -> those of the robot, where they differ.
        seed: Of the noise, together with the number of each request; the server's own where None.
        patience: How long is waited.

    Raises:
        PolicyUnavailable: No server answers there.
        ValueError: It wants another key, is no server of `rvq-vla serve`, or has no such camera.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = 8000,
        key: str | None = None,
        cameras: Mapping[str, str] | None = None,
        seed: int | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._connection = PolicyServerConnection(Server.at(host, port, key), patience)
        self._turn, self._seed = threading.Lock(), seed
        try:
            self.declaration = Declaration.from_metadata(self._connection.metadata)
            self.description = self._describe(cameras or {})
        except ValueError:
            self.close()
            raise

    def reset(self) -> None:
        """A new run begins: make sure that the server is there.

        Raises:
            PolicyUnavailable: It is not.
        """
        with self._turn:
            self._connection.open()

    def act(self, request: Request) -> np.ndarray:
        """A chunk float32 [H, D], physical units, absolute.

        Raises:
            PolicyUnavailable: The server is away, does not answer, refuses the request, or serves
                another policy than before. Asking again later may help.
        """
        with self._turn:
            answer = self._connection.ask(self._message(request))
            if problem := _mismatch(answer, request.number):
                self._connection.close()
                raise PolicyUnavailable(problem)
        return answer["actions"]

    def close(self) -> None:
        """Let go of the server. A second call does nothing."""
        self._connection.close()

    def __enter__(self) -> RemotePolicy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _describe(self, cameras: Mapping[str, str]) -> PolicyDescription:
        about = self.declaration.policy
        if unknown := sorted(set(cameras) - set(about.cameras)):
            raise ValueError(f"The server has no camera {unknown}; it names {list(about.cameras)}.")
        return replace(about, cameras={name: cameras.get(name, name) for name in about.cameras})

    def _message(self, request: Request) -> dict[str, Any]:
        """Pictures are scaled as the server would: no more is sent than is looked at."""
        told, seen = self.declaration, request.observation
        message = {
            told.state_key: np.asarray(seen.proprio, dtype=np.float32),
            PROMPT: request.instruction,
            NUMBER: request.number,
        }
        for wire, own in self.description.cameras.items():
            message[told.image_key(wire)] = fit(seen.images[own], told.image_size)
        seed = self._seed if request.seed is None else request.seed
        if seed is not None:
            message[SEED] = seed
        if request.committed is not None:
            message[COMMITTED] = np.asarray(request.committed.actions, dtype=np.float64)
            message[DELAY] = request.committed.delay
        return message


def _mismatch(answer: Any, number: int) -> str:
    """Why this is no answer to that request; the true one may still be on its way."""
    if not isinstance(answer, dict) or not isinstance(answer.get("actions"), np.ndarray):
        return f"The server sent {type(answer).__name__} without actions."
    if answer.get(NUMBER) != number:
        return f"The server answered request {answer.get(NUMBER)} instead of {number}."
    return ""
