"""Who makes room for one more client."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from vla.deploy.server import guests
from vla.deploy.server.guests import Guests


class Connection:
    """One that comes from somewhere and notes that it is closed."""

    def __init__(self, address: str) -> None:
        self.address, self.transport, self.closed = address, self, 0

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return self.address, 1

    async def close(self, code: int, reason: str) -> None:
        self.closed = code


@pytest.fixture
def clock(monkeypatch):
    """[s], to be set."""
    now = [0.0]
    monkeypatch.setattr(guests, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(guests, "SILENT_S", 1.0)
    monkeypatch.setattr(guests, "IDLE_S", 60.0)
    return now


def coming(addresses: str, found: Guests) -> list[Connection]:
    """One client after the other; a letter is an address."""
    connections = [Connection(address) for address in addresses]

    async def come() -> None:
        for connection in connections:
            found.admit(connection)
        await asyncio.sleep(0)

    asyncio.run(come())
    return connections


def test_the_silent_of_the_largest_crowd_go_first(clock):
    found = Guests(4, 4)
    first = coming("aabb", found)
    clock[0] = 2.0
    coming("b", found)
    assert [one.closed for one in first] == [1013, 0, 0, 0] and len(found) == 4
    coming("c", found)
    assert [one.closed for one in first] == [1013, 0, 1013, 0]


def test_who_has_asked_may_be_silent_for_longer(clock):
    found = Guests(2, 2)
    asking, busy = (found.admit(Connection("a")) for _ in range(2))
    with asking.asking():
        pass
    with busy.asking():
        clock[0] = 59.0
        assert found.admit(Connection("b")) is None
        clock[0] = 61.0
        coming("b", found)
        assert asking.connection.closed and not busy.connection.closed
        found.leave(asking)
        assert len(found) == 2
        clock[0] = 1000.0
        coming("bb", found)
    assert not busy.connection.closed and len(found) == 2


def test_an_address_has_so_many_but_for_this_machines_own(clock):
    found = Guests(8, 2)
    first = coming("aab", found)
    assert found.admit(Connection("a")) is None and len(found) == 3
    clock[0] = 2.0
    coming("a", found)
    assert [one.closed for one in first] == [1013, 0, 0] and len(found) == 3
    for _ in range(5):
        assert found.admit(Connection("127.0.0.1")) is not None
