"""A policy that is served, what it is asked, and clients."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from websockets.sync.client import connect

from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import HORIZON, RATE
from vla.deploy.policies.policy import PolicyDescription, Request
from vla.deploy.policies.wire import pack, unpack
from vla.deploy.server.access import Address
from vla.deploy.server.hosting import ServerThread
from vla.deploy.server.server import PolicyServer, ServerSettings

PATIENCE_S = 30.0
SIDE = 16
LOCAL = Address(port=0)
SPECIAL = "<|im_end|>"


class FakeServed:
    """Chunks that say what they answer: number, seed, the robot's joint 1, a pixel of its picture.

    Args:
        spoil: Request -> called before its chunk is computed; may wait or raise.
        real_time: Whether it takes committed frames.
        fingerprint: Of its weights.
        horizon: Frames of its chunks.
    """

    image_size, needs = SIDE, ARM.names[:3]

    def __init__(
        self,
        spoil: Callable[[Request], None] = lambda request: None,
        real_time: bool = True,
        fingerprint: str = "one",
        horizon: int = HORIZON,
    ) -> None:
        cameras = {"front": "front"}
        self.description = PolicyDescription("arm", ARM, RATE, horizon, cameras, real_time)
        self.spoil, self.fingerprint = spoil, fingerprint
        self.batches: list[int] = []
        self.requests: list[Request] = []

    def check(self, instruction: str) -> None:
        if SPECIAL in instruction:
            raise ValueError(f"The instruction holds special tokens ['{SPECIAL}']")

    def act_many(self, requests: Sequence[Request]) -> list[np.ndarray]:
        self.batches.append(len(requests))
        return [self._chunk(request) for request in requests]

    def _chunk(self, request: Request) -> np.ndarray:
        self.requests.append(request)
        self.spoil(request)
        chunk = np.zeros((self.description.horizon, 4))
        chunk[:, 0], chunk[:, 1] = request.number, request.seed or 0
        chunk[:, 2] = request.observation.proprio[1]
        chunk[:, 3] = request.observation.images["front"][SIDE // 2, SIDE // 2, 0]
        return chunk


class Gate:
    """Makes a policy wait for a request whose prompt is `wait`, until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, request: Request) -> None:
        if request.instruction == "wait":
            self.reached.set()
            assert self.opened.wait(PATIENCE_S)


@contextlib.contextmanager
def serving(
    policy: FakeServed, address: Address = LOCAL, settings: ServerSettings | None = None
) -> Iterator[int]:
    """A server in a thread; its port."""
    with ServerThread(PolicyServer(policy, address, settings)) as port:
        yield port


@contextlib.contextmanager
def visit(port: int, **headers: str) -> Iterator:
    """A client as openpi's connects, past the metadata."""
    more = {"compression": None, "max_size": None, "additional_headers": headers or None}
    with connect(f"ws://127.0.0.1:{port}", **more) as socket:
        assert unpack(socket.recv(PATIENCE_S))["protocol"] == "rvq-action/1"
        yield socket


def sight(**changes) -> dict:
    """A message that is right, with changes; a change to None leaves the key out."""
    message = {
        "observation/state": np.array([0.0, 1, 2, 0.5]),
        "observation/images/front": np.full((SIDE, SIDE, 3), 7, dtype=np.uint8),
        "prompt": "wave",
    }
    names = {"state": "observation/state", "front": "observation/images/front"}
    message |= {names.get(key, key): value for key, value in changes.items()}
    return {key: value for key, value in message.items() if value is not None}


def ask(socket, message: dict) -> dict | str:
    """What is answered."""
    socket.send(pack(message))
    answer = socket.recv(PATIENCE_S)
    return answer if isinstance(answer, str) else unpack(answer)


def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    """Status and text of a page."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def wait_until(holds) -> None:
    """Fails where something does not come about."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def metric(port: int, line: str) -> float:
    """The value of a line of the metrics."""
    text = get(port, "/metrics")[1]
    return float(next(row for row in text.splitlines() if row.startswith(f"{line} ")).split()[-1])
