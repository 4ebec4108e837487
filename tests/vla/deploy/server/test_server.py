"""A policy server, and clients of every kind."""

from __future__ import annotations

import contextlib
import os
import re
import socket as sockets
import threading
import time

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.vla.deploy.server.conftest import (
    LOCAL,
    PATIENCE_S,
    FakeServed,
    Gate,
    ask,
    get,
    serving,
    sight,
    visit,
)
from vla.deploy.server import conversation
from vla.deploy.server import server as server_module
from vla.deploy.server.access import Address
from vla.deploy.server.batching import BatchSettings, PolicyFailed
from vla.deploy.server.hosting import ServerThread
from vla.deploy.server.server import PolicyServer, ServerSettings
from vla.deploy.wire import pack, unpack


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


def test_an_answer_says_what_is_to_be_done_and_how_long_it_took():
    with serving(FakeServed()) as port, visit(port) as client:
        first, second = (ask(client, sight()) for _ in range(2))
        told = ask(client, sight(number=9, seed=4))
    assert first["actions"].shape == (10, 4) and first["actions"].dtype == np.float32
    assert [a["number"] for a in (first, second, told)] == [0, 1, 9]
    np.testing.assert_allclose(told["actions"][0], [9, 4, 1, 7])
    assert set(told["server_timing"]) == {"queue_ms", "infer_ms", "batch_size", "prev_total_ms"}
    assert told["server_timing"]["batch_size"] == 1 and told["server_timing"]["prev_total_ms"] > 0


def test_what_clients_send_at_once_is_computed_at_once():
    gate = Gate()
    policy, settings = FakeServed(gate), ServerSettings(BatchSettings(8, 1.0))
    with serving(policy, settings=settings) as port, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(visit(port)) for _ in range(4)]
        clients[0].send(pack(sight(prompt="wait")))
        clients[1].send(pack(sight()))
        for number, client in enumerate(clients[2:]):
            client.send(pack(sight(number=number)))
        assert gate.reached.wait(PATIENCE_S)
        gate.opened.set()
        answers = [unpack(client.recv(PATIENCE_S)) for client in clients]
    assert policy.batches == [1, 4] and all(a["server_timing"]["batch_size"] == 4 for a in answers)


BAD = [
    "hello",
    b"",
    b"\xc1",
    b"\x93\x01",
    pack([1, 2]),
    pack({"prompt": "x"}),
    b"\xdd\xff\xff\xff\xff",
    b"\xdd\x00\x0f\xff\xff" * 900,
    pack([[[]] * 3000] * 2),
    pack({b"__ndarray__": True, b"data": b"", b"dtype": "O", b"shape": [2]}),
    pack({b"__ndarray__": True, b"data": b"1", b"dtype": "<f4", b"shape": [1 << 40]}),
    pack(sight(prompt="")),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_is_wrong_is_said_in_words_and_the_connection_goes_on(number):
    with serving(FakeServed()) as port, visit(port) as client:
        client.send(BAD[number])
        text = client.recv(PATIENCE_S)
        assert re.match(r"Refused \(request [0-9a-f]{8}\): .+\.$", text), text
        assert "Traceback" not in text and "\n" not in text and ".py" not in text
        assert ask(client, sight())["number"] == 0
        kind = "observation" if number in (4, 5, 11) else "malformed"
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


def test_a_client_that_does_not_read_is_let_go_of(monkeypatch):
    """Its answers fill its socket; the others do not notice."""
    monkeypatch.setattr(conversation, "SEND_S", 0.2)
    hello = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    message = pack(sight())
    frame = b"\x82\xfe" + len(message).to_bytes(2, "big") + bytes(4) + message
    with serving(FakeServed(horizon=4000)) as port, visit(port) as other:
        with contextlib.closing(sockets.create_connection(("127.0.0.1", port))) as silent:
            silent.settimeout(PATIENCE_S)
            silent.sendall(hello)
            with contextlib.suppress(ConnectionError):
                while True:
                    silent.sendall(frame)
        assert metric(port, 'rvq_errors_total{kind="slow"}') == 1
        assert ask(other, sight())["number"] == 0
        wait_until(lambda: metric(port, "rvq_clients") == 1)


def test_half_open_connections_and_other_protocols_harm_nobody():
    with serving(FakeServed()) as port, visit(port) as client:
        silent = [sockets.create_connection(("127.0.0.1", port)) for _ in range(20)]
        silent[0].sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        silent[1].sendall(b"POST / HTTP/1.1\r\n\r\n")
        assert ask(client, sight())["number"] == 0
        for connection in silent:
            connection.close()


def test_a_policy_that_fails_says_so_without_its_traceback(caplog):
    secret = "weights at a secret place"

    def spoil(request):
        if request.instruction == "fail":
            raise RuntimeError(secret)
        if request.instruction == "odd":
            raise ValueError("the words hold a special token.\n  and more")

    with serving(FakeServed(spoil)) as port, visit(port) as client:
        hidden, shown = (ask(client, sight(prompt=words)) for words in ("fail", "odd"))
        assert ask(client, sight())["number"] == 2
        assert metric(port, 'rvq_errors_total{kind="policy"}') == 2
    name = re.fullmatch(
        r"The policy failed \(request (\w{8})\); the log of the server says why\.", hidden
    )[1]
    assert re.fullmatch(
        r"The policy failed \(request \w{8}\): the words hold a special token", shown
    )
    assert f"Request {name} of 127.0.0.1" in caplog.text and secret in caplog.text
    assert "Traceback" in caplog.text


def test_it_is_healthy_only_when_the_policy_is_warm():
    gate = Gate()

    class Cold(FakeServed):
        def act_many(self, requests):
            if requests[0].instruction == "warm up":
                gate.reached.set()
                assert gate.opened.wait(PATIENCE_S)
            return super().act_many(requests)

    with sockets.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    thread = ServerThread(PolicyServer(Cold(), Address(port=port)))
    entering = threading.Thread(target=thread.__enter__)
    entering.start()
    assert gate.reached.wait(PATIENCE_S)
    assert get(port, "/healthz") == (503, "The policy is not warm yet.\n")
    assert metric(port, "rvq_ready") == 0
    gate.opened.set()
    entering.join(PATIENCE_S)
    assert get(port, "/healthz") == (200, "OK\n") and metric(port, "rvq_ready") == 1
    thread.__exit__(None, None, None)


def test_it_is_not_healthy_while_the_policy_hangs(monkeypatch):
    monkeypatch.setattr(server_module, "STUCK_S", 0.05)
    gate = Gate()
    with serving(FakeServed(gate)) as port, visit(port) as client:
        client.send(pack(sight(prompt="wait")))
        wait_until(lambda: get(port, "/healthz")[0] == 503)
        assert "has not come back" in get(port, "/healthz")[1]
        gate.opened.set()
        client.recv(PATIENCE_S)
        assert get(port, "/healthz")[0] == 200


def test_a_policy_that_cannot_act_is_not_served():
    def spoil(request):
        raise ValueError("no normalisation")

    with pytest.raises(PolicyFailed, match="no normalisation"), serving(FakeServed(spoil)):
        pass


def test_too_many_clients_are_told_to_come_later():
    settings = ServerSettings(max_clients=1)
    with serving(FakeServed(), settings=settings) as port, visit(port) as first:
        with connect(f"ws://127.0.0.1:{port}") as second, pytest.raises(ConnectionClosed) as error:
            second.recv(PATIENCE_S)
        assert error.value.rcvd.code == 1013 and ask(first, sight())["number"] == 0
        assert metric(port, 'rvq_errors_total{kind="busy"}') == 1


def test_in_the_end_it_finishes_what_runs_and_says_goodbye():
    gate = Gate()
    thread = ServerThread(PolicyServer(FakeServed(gate), LOCAL))
    port = thread.__enter__()
    with visit(port) as client, visit(port) as idle:
        client.send(pack(sight(prompt="wait")))
        assert gate.reached.wait(PATIENCE_S)
        leaving = threading.Thread(target=thread.__exit__, args=(None, None, None))
        leaving.start()
        wait_until(lambda: get(port, "/healthz")[0] == 503)
        gate.opened.set()
        assert unpack(client.recv(PATIENCE_S))["number"] == 0
        for one in (client, idle):
            with pytest.raises(ConnectionClosed) as error:
                one.recv(PATIENCE_S)
            assert error.value.rcvd.code == 1001
    leaving.join(PATIENCE_S)
    assert not leaving.is_alive()
    with pytest.raises(OSError):
        sockets.create_connection(("127.0.0.1", port), 1.0)


def test_a_policy_that_hangs_is_left_behind(monkeypatch):
    monkeypatch.setattr(server_module, "FINISH_S", 0.1)
    gate = Gate()
    with pytest.raises(TimeoutError, match="hangs"), serving(FakeServed(gate)) as port:
        with visit(port) as client:
            client.send(pack(sight(prompt="wait")))
            assert gate.reached.wait(PATIENCE_S)
    gate.opened.set()


def test_metrics_are_prometheus():
    with serving(FakeServed()) as port, visit(port) as client:
        for _ in range(3):
            ask(client, sight())
        ask(client, {})
        text = get(port, "/metrics")[1]
        with pytest.raises(InvalidStatus):
            connect(f"ws://127.0.0.1:{port}/metrics")
    for line in (
        'rvq_requests_total{outcome="answered"} 3.0',
        'rvq_requests_total{outcome="refused"} 1.0',
        'rvq_errors_total{kind="observation"} 1.0',
        'rvq_errors_total{kind="oversized"} 0.0',
        'rvq_seconds_count{stage="queue"} 3.0',
        'rvq_seconds_count{stage="total"} 4.0',
        'rvq_seconds_count{stage="inference"} 4.0',
        'rvq_batch_size_bucket{le="1.0"} 4.0',
        "rvq_clients 1.0",
        "rvq_ready 1.0",
    ):
        assert line in text.splitlines(), text
    assert re.search(r'rvq_bytes_total\{direction="in"\} \d{4}\.0', text)
    assert re.search(r'rvq_bytes_total\{direction="out"\} \d{4}\.0', text)
