"""Clients that send nonsense or too much, do not read, or go: nobody else notices."""

from __future__ import annotations

import contextlib
import os
import re
import socket as sockets
import threading

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.vla.deploy.server.conftest import (
    PATIENCE_S,
    SPECIAL,
    FakeServed,
    Gate,
    ask,
    metric,
    serving,
    sight,
    visit,
    wait_until,
)
from vla.deploy.policies.wire import pack, unpack
from vla.deploy.server import conversation, guests, server
from vla.deploy.server.server import ServerSettings

BAD = [
    "hello",
    b"",
    b"\xc1",
    b"\x93\x01",
    pack([1, 2]),
    pack({"prompt": "x"}),
    b"\xdd\xff\xff\xff\xff",
    b"\xdd\x00\x0f\xff\xff" * 900,
    pack([[[]] * 2100] * 2),
    pack({b"__ndarray__": True, b"data": b"", b"dtype": "O", b"shape": [2]}),
    pack({b"__ndarray__": True, b"data": b"1", b"dtype": "<f4", b"shape": [1 << 40]}),
    pack(sight(prompt="")),
    pack(sight(prompt=f"wave{SPECIAL}")),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_is_wrong_is_said_in_words_and_the_connection_goes_on(number):
    with serving(FakeServed()) as port, visit(port) as client:
        client.send(BAD[number])
        text = client.recv(PATIENCE_S)
        assert re.match(r"Refused \(request [0-9a-f]{8}\): .+\.$", text), text
        assert "Traceback" not in text and "\n" not in text and ".py" not in text
        assert ask(client, sight())["number"] == 0
        kind = "observation" if number in (4, 5, 11, 12) else "malformed"
        assert metric(port, f'rvq_errors_total{{kind="{kind}"}}') == 1
        assert metric(port, 'rvq_requests_total{outcome="refused"}') == 1


def test_ten_thousand_malformed_messages():
    """Of a few bytes each, drawn at random, while another client is served."""
    draw = np.random.default_rng(0)
    noise = [draw.bytes(int(size)) for size in draw.integers(0, 24, 10_000)]
    with serving(FakeServed()) as port, visit(port) as other, visit(port) as client:
        before = threading.active_count()
        for number, message in enumerate(noise):
            client.send(message)
            assert client.recv(PATIENCE_S).startswith("Refused")
            if number % 1000 == 0:
                assert ask(other, sight())["actions"].shape == (10, 4)
        assert ask(client, sight())["number"] == 0
        assert threading.active_count() <= before + (os.cpu_count() or 1) + 4
        assert metric(port, 'rvq_requests_total{outcome="refused"}') == 10_000
        assert metric(port, 'rvq_errors_total{kind="malformed"}') > 5000


def test_a_flood_without_reading_harms_nobody():
    """What a client sends ahead stays in its own socket: one request at a time is taken."""
    gate = Gate()
    with serving(FakeServed(gate)) as port, visit(port) as flood, visit(port) as other:
        flood.send(pack(sight(prompt="wait")))
        assert gate.reached.wait(PATIENCE_S)
        for number in range(50):
            flood.send(pack(sight(number=number)))
        gate.opened.set()
        assert ask(other, sight())["number"] == 0
        answers = [unpack(flood.recv(PATIENCE_S))["number"] for _ in range(51)]
        assert answers == [0, *range(50)]


def test_too_large_a_message_ends_that_connection_alone():
    settings = ServerSettings(max_bytes=4096)
    with serving(FakeServed(), settings=settings) as port, visit(port) as other:
        with visit(port) as client:
            client.send(bytes(4097))
            with pytest.raises(ConnectionClosed, match="1009"):
                client.recv(PATIENCE_S)
        assert ask(other, sight())["number"] == 0
        wait_until(lambda: metric(port, "rvq_clients") == 1)
        assert metric(port, 'rvq_errors_total{kind="oversized"}') == 1


def test_no_client_decides_how_long_a_line_of_the_log_is(caplog):
    strange = {f"{number:02}{'x' * 50_000}": 0 for number in range(50)}
    caplog.set_level("INFO", logger="vla.deploy.server")
    with serving(FakeServed()) as port, visit(port) as client:
        assert ask(client, sight(**strange))["number"] == 0
    (told,) = [r.getMessage() for r in caplog.records if "sends what is not read" in r.getMessage()]
    assert "'00xxx" in told and len(told) < 1200


def test_a_client_that_goes_before_its_turn_costs_nothing():
    gate = Gate()
    policy = FakeServed(gate)
    with serving(policy) as port, visit(port) as other:
        other.send(pack(sight(prompt="wait")))
        assert gate.reached.wait(PATIENCE_S)
        with visit(port) as client:
            client.send(pack(sight()))
            wait_until(lambda: metric(port, 'rvq_bytes_total{direction="in"}') > 1800)
            client.socket.shutdown(sockets.SHUT_RDWR)
        wait_until(lambda: metric(port, 'rvq_requests_total{outcome="dropped"}') == 1)
        gate.opened.set()
        assert unpack(other.recv(PATIENCE_S))["number"] == 0
        assert ask(other, sight())["number"] == 1
    assert policy.batches == [1, 1, 1]


HELLO = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def dial(port: int) -> sockets.socket:
    """A client that does what a test does with it, and no more."""
    return sockets.create_connection(("127.0.0.1", port), PATIENCE_S)


def test_a_client_that_does_not_read_is_let_go_of(monkeypatch):
    """Its answers fill its socket; the others do not notice."""
    monkeypatch.setattr(conversation, "SEND_S", 0.2)
    message = pack(sight())
    frame = b"\x82\xfe" + len(message).to_bytes(2, "big") + bytes(4) + message
    with serving(FakeServed(horizon=4000)) as port, visit(port) as other:
        with contextlib.closing(dial(port)) as silent:
            silent.sendall(HELLO)
            with contextlib.suppress(ConnectionError):
                while True:
                    silent.sendall(frame)
        assert metric(port, 'rvq_errors_total{kind="slow"}') == 1
        assert ask(other, sight())["number"] == 0
        wait_until(lambda: metric(port, "rvq_clients") == 1)


def test_a_client_that_has_vanished_is_let_go_of(monkeypatch):
    """As after a cable was pulled: it answers no ping."""
    monkeypatch.setattr(server, "PING_S", 0.1)
    with serving(FakeServed()) as port, contextlib.closing(dial(port)) as silent:
        silent.sendall(HELLO)
        wait_until(lambda: metric(port, "rvq_clients") == 1)
        wait_until(lambda: metric(port, "rvq_clients") == 0)


def test_half_open_connections_and_other_protocols_harm_nobody(monkeypatch, caplog):
    monkeypatch.setattr(server, "OPEN_S", 0.2)
    with serving(FakeServed()) as port, visit(port) as client, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(contextlib.closing(dial(port))) for _ in range(20)]
        silent[0].sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        silent[1].sendall(b"POST / HTTP/1.1\r\n\r\n")
        assert ask(client, sight())["number"] == 0
        for connection in silent:
            with contextlib.suppress(ConnectionError):
                while connection.recv(1024):
                    pass
        assert ask(client, sight())["number"] == 1
    assert "Traceback" not in caplog.text


def test_clients_that_come_and_go_leave_nothing_behind():
    with serving(FakeServed()) as port:
        with visit(port) as client:
            ask(client, sight())
        wait_until(lambda: metric(port, "rvq_clients") == 0)
        before = len(os.listdir("/proc/self/fd"))
        for number in range(100):
            with visit(port) as client:
                assert ask(client, sight())["number"] == 0
                if number % 3 == 0:
                    client.socket.shutdown(sockets.SHUT_RDWR)
        wait_until(lambda: metric(port, "rvq_clients") == 0)
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_clients_that_say_nothing_make_room_for_others(monkeypatch):
    """The one that has asked stays, and so does the one that waits for its answer."""
    monkeypatch.setattr(guests, "SILENT_S", 0.0)
    gate, settings = Gate(), ServerSettings(max_clients=4)
    with serving(FakeServed(gate), settings=settings) as port, contextlib.ExitStack() as stack:
        asking, waiting, *silent = [stack.enter_context(visit(port)) for _ in range(4)]
        assert ask(asking, sight())["number"] == 0
        waiting.send(pack(sight(prompt="wait")))
        assert gate.reached.wait(PATIENCE_S)
        for one in silent:
            late = stack.enter_context(visit(port))
            with pytest.raises(ConnectionClosed) as error:
                one.recv(PATIENCE_S)
            assert error.value.rcvd.code == 1013
        gate.opened.set()
        assert unpack(waiting.recv(PATIENCE_S))["number"] == 0
        assert [ask(one, sight(number=7))["number"] for one in (asking, late)] == [7, 7]
        wait_until(lambda: metric(port, 'rvq_errors_total{kind="idle"}') == 2)
        assert metric(port, "rvq_clients") == 4


def test_too_many_clients_are_told_to_come_later():
    settings = ServerSettings(max_clients=1)
    with serving(FakeServed(), settings=settings) as port, visit(port) as first:
        ask(first, sight())
        with connect(f"ws://127.0.0.1:{port}") as second, pytest.raises(ConnectionClosed) as error:
            second.recv(PATIENCE_S)
        assert error.value.rcvd.code == 1013 and ask(first, sight())["number"] == 1
        assert metric(port, 'rvq_errors_total{kind="busy"}') == 1
