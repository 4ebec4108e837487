"""A policy server: its answers, its health, its end."""

from __future__ import annotations

import contextlib
import re
import socket as sockets
import threading

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
    metric,
    serving,
    sight,
    visit,
    wait_until,
)
from vla.deploy.policies.wire import pack, unpack
from vla.deploy.server import server as server_module
from vla.deploy.server.access import Address
from vla.deploy.server.batching import BatchSettings, PolicyFailed
from vla.deploy.server.hosting import ServerThread
from vla.deploy.server.server import PolicyServer, ServerSettings


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
    entering = threading.Thread(target=thread.start)
    entering.start()
    assert gate.reached.wait(PATIENCE_S)
    assert get(port, "/healthz") == (503, "The policy is not warm yet.\n")
    assert metric(port, "rvq_ready") == 0
    gate.opened.set()
    entering.join(PATIENCE_S)
    assert get(port, "/healthz") == (200, "OK\n") and metric(port, "rvq_ready") == 1
    thread.close()


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


def test_in_the_end_it_finishes_what_runs_and_says_goodbye():
    gate = Gate()
    thread = ServerThread(PolicyServer(FakeServed(gate), LOCAL))
    port = thread.start()
    with visit(port) as client, visit(port) as idle:
        client.send(pack(sight(prompt="wait")))
        assert gate.reached.wait(PATIENCE_S)
        leaving = threading.Thread(target=thread.close)
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
    thread = ServerThread(PolicyServer(FakeServed(gate), LOCAL))
    with visit(thread.start()) as client:
        client.send(pack(sight(prompt="wait")))
        assert gate.reached.wait(PATIENCE_S)
        with pytest.raises(TimeoutError, match="The policy hangs"):
            thread.close()
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
