"""RobotServer by itself: what goes out when a stop comes between an answer and its sending."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from vla.deploy.policies.wire import pack, unpack
from vla.deploy.robots.remote_server import Answer, RobotServer
from vla.deploy.server.access import Address


def answer(value: float) -> Answer:
    command = np.full(6, value)
    return Answer(command, {"actions": command[None]})


class Loop:
    """A control loop that answers at once."""

    is_driven = True

    def __init__(self) -> None:
        self.server = RobotServer(Address(port=0), {}, self, 0.05, time.monotonic)
        self.commands: list[np.ndarray] = []

    def receive(self, message, since) -> None:
        self.server.answer(answer(1.0))

    def rest(self) -> None:
        return None

    def fetched(self, command) -> None:
        self.commands.append(command)

    def gone(self) -> str:
        return ""


class Connection:
    def __init__(self) -> None:
        self.sent: list[str | bytes] = []

    async def send(self, message: str | bytes) -> None:
        self.sent.append(message)


def test_an_answer_is_sent_once_and_noted():
    loop, connection = Loop(), Connection()
    asyncio.run(loop.server._tell(connection, loop.server._respond(pack({}), 0.0)))
    (sent,) = connection.sent
    assert isinstance(sent, bytes) and (unpack(sent)["actions"] == 1.0).all()
    assert [c.tolist() for c in loop.commands] == [[1.0] * 6]
    assert loop.server._standing is None


@pytest.mark.parametrize("last", [None, answer(2.0)])
def test_an_answer_that_a_stop_overtakes_is_not_sent(last):
    """The robot is told of the stop in its place, and the loop that it has no new command."""
    loop, connection = Loop(), Connection()
    overtaken = loop.server._respond(pack({}), 0.0)
    loop.server.refuse("stopped", last)
    asyncio.run(loop.server._tell(connection, overtaken))
    assert connection.sent == ["stopped"] and loop.commands == []
    if last is not None:
        asyncio.run(loop.server._tell(connection, loop.server._respond(pack({}), 0.0)))
        assert (unpack(connection.sent[1])["actions"] == 2.0).all()
        assert [c.tolist() for c in loop.commands] == [[2.0] * 6]
