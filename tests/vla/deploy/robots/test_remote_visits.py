"""Which robot a run drives, from where, and how old its news are."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from tests.vla.deploy.robots.test_remote import ask, robot, rows, sight, visit  # noqa: F401
from tests.vla.deploy.server.conftest import wait_until
from vla.deploy.policies.wire import unpack
from vla.deploy.robots.protocol import RobotError
from vla.deploy.robots.remote_guest import DRIFT, Guest, RemoteKeys
from vla.deploy.robots.remote_inbox import Inbox

LOW, LOWER = (1.0, 2, 3, 4, 5, 60), (1.0, 1, 3, 4, 5, 60)
HOME = (-50.0, 2, 3, 4, 5, 60)


def told(socket, number: int, state) -> np.ndarray:
    """What a robot in this state is told, in its own numbers."""
    socket.send(sight(number, state))
    answer = socket.recv()
    assert isinstance(answer, bytes), answer
    return unpack(answer)["actions"][0]


def test_until_the_loop_runs_it_is_told_to_stay_where_it_stood_once_a_period(robot):  # noqa: F811
    with visit(robot) as socket:
        socket.recv()
        begin = time.monotonic()
        for number, state in enumerate([LOW, LOWER, LOWER, LOWER]):
            np.testing.assert_allclose(told(socket, number, state), LOW, rtol=1e-6)
        assert time.monotonic() - begin >= 4 / 20.0


def test_one_that_sinks_under_its_load_is_held_where_it_stood(robot):  # noqa: F811
    with visit(robot) as socket:
        socket.recv()
        for number, state in enumerate([LOW, LOWER]):
            ask(robot, socket, sight(number, state))
            wait_until(lambda state=state: robot.observe().proprio[1] == state[1])
            robot.hold(None)
            np.testing.assert_allclose(unpack(socket.recv())["actions"][0], LOW, rtol=1e-6)


def test_one_that_comes_back_is_told_nothing_that_was_meant_for_the_one_before(robot):  # noqa: F811
    with visit(robot) as socket:
        socket.recv()
        told(socket, 0, LOW)
        robot.observe()
        robot.send(np.array([9.0, 2, 3, 4, 5, 0.6]))
    with visit(robot) as socket:
        socket.recv()
        socket.send(sight(1, HOME))
        assert "one that comes back is not driven in this run" in socket.recv()
        with pytest.raises(RobotError, match="The robot has gone"):
            robot.observe()
        robot.send(np.array([9.0, 2, 3, 4, 5, 0.6]))
        socket.send(sight(2, HOME))
        assert "one that comes back" in socket.recv()
        robot.stop()
        socket.send(sight(3, HOME))
        assert socket.recv() == "The run is over."


def test_before_anybody_has_looked_another_may_come_and_is_held_where_it_stands(robot):  # noqa: F811
    with visit(robot) as socket:
        socket.recv()
        told(socket, 0, LOW)
    with visit(robot) as socket:
        socket.recv()
        np.testing.assert_allclose(told(socket, 1, HOME), HOME, rtol=1e-6)


class Clock:
    """Shows what it is set to."""

    time = 0.0

    def __call__(self) -> float:
        return self.time


def test_the_age_of_news_is_told_by_the_robots_own_clock():
    """Which shows 100 s more; the quickest message of all takes 0.02 s longer than none."""
    clock = Clock()
    guest = Guest(rows(), RemoteKeys("s", {}, "t"), clock)
    ages = []
    for sent, way in ((1.0, 0.05), (1.1, 0.02), (1.2, 0.02), (1.3, 2.0), (1.4, 0.02)):
        clock.time = sent + way
        guest.receive({"s": np.array(LOW), "t": 100.0 + sent}, since=0.0)
        ages.append(clock.time - guest.look().time)
    np.testing.assert_allclose(ages, [0, 0, 0, 1.98, 0], atol=3 * DRIFT)


@pytest.mark.parametrize(
    ("time", "words"), [({}, r"lacks \['t'\]"), ({"t": np.nan}, "nan is not a number")]
)
def test_a_time_that_is_none_is_refused(time, words):
    guest = Guest(rows(), RemoteKeys("s", {}, "t"), Clock())
    with pytest.raises(ValueError, match=words):
        guest.receive({"s": np.array(LOW)} | time, since=0.0)


class Socket:
    """Messages that wait; where none does one comes half a second later."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.waiting = clock, []

    async def recv(self) -> bytes:
        if self.waiting:
            return self.waiting.pop(0)
        await asyncio.sleep(0)
        self.clock.time += 0.5
        return b"later"


def test_of_messages_that_wait_only_the_last_is_read_and_is_as_old_as_it_can_be():
    clock = Clock()
    socket = Socket(clock)

    async def read() -> None:
        inbox = Inbox(socket, clock)
        assert await inbox.newest() == (b"later", 0.0)
        socket.waiting, clock.time = [b"1", b"2", b"3"], 2.0
        assert await inbox.newest() == (b"3", 0.0)
        assert await inbox.newest() == (b"later", 2.0)

    asyncio.run(read())


def test_a_robots_clock_may_be_a_little_slower():
    clock = Clock()
    guest = Guest(rows(), RemoteKeys("s", {}, "t"), clock)
    for second in range(0, 7200, 60):
        clock.time = float(second)
        guest.receive({"s": np.array(LOW), "t": np.float64(second * (1 - 1e-4))}, since=0.0)
        assert clock.time - guest.look().time < 0.01
