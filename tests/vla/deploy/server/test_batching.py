"""Requests that are computed together."""

from __future__ import annotations

from concurrent.futures import wait
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.vla.conftest import SIZE, observe, picture, start
from tests.vla.deploy.server.conftest import PATIENCE_S, SIDE, FakeServed, Gate
from vla.deploy.policies.policy import Committed, Request
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.robots.protocol import RobotObservation
from vla.deploy.server.batching import Asker, Batcher, BatchSettings, PolicyFailed


def request(number: int = 0, words: str = "wave", **more) -> Request:
    image = np.full((SIDE, SIDE, 3), 7, dtype=np.uint8)
    seen = RobotObservation(0.0, np.zeros(4, dtype=np.float32), {"front": image})
    return Request(seen, words, number, **more)


def queued(policy: FakeServed, gate: Gate, requests, company: int = 8, **settings):
    """The futures of requests that wait while the policy is at another one."""
    batcher = Batcher(policy, BatchSettings(**settings), lambda: company)
    batcher.submit(request(words="wait"))
    assert gate.reached.wait(PATIENCE_S)
    futures = [batcher.submit(r) for r in requests]
    return batcher, futures


def test_what_waits_is_computed_at_once_up_to_the_limit():
    gate = Gate()
    policy = FakeServed(gate)
    told = {"max_batch": 4, "max_wait_s": 0.0}
    batcher, futures = queued(policy, gate, [request(n) for n in range(6)], **told)
    gate.opened.set()
    outcomes = [future.result(PATIENCE_S) for future in futures]
    assert policy.batches == [1, 4, 2]
    assert [outcome.actions[0, 0] for outcome in outcomes] == list(range(6))
    assert [outcome.batch for outcome in outcomes] == [4] * 4 + [2] * 2
    assert all(outcome.actions.dtype == np.float32 for outcome in outcomes)
    assert batcher.close(PATIENCE_S)


def test_it_waits_for_company_only_where_there_is_some():
    clients = [1]
    policy = FakeServed()
    batcher = Batcher(policy, BatchSettings(4, 1.0), lambda: clients[0])
    assert batcher.submit(request()).result(PATIENCE_S).batch == 1
    clients[0] = 2
    pair = [batcher.submit(request(n)) for n in range(2)]
    assert [future.result(PATIENCE_S).batch for future in pair] == [2, 2]
    assert batcher.close(PATIENCE_S)


def test_who_spoils_a_batch_spoils_it_for_himself_alone():
    gate = Gate()

    def spoil(request: Request) -> None:
        gate(request)
        if request.number == 1:
            raise SystemExit("over")

    batcher, futures = queued(FakeServed(spoil), gate, [request(n) for n in range(3)])
    gate.opened.set()
    wait(futures, PATIENCE_S)
    assert [future.exception() is None for future in futures] == [True, False, True]
    with pytest.raises(PolicyFailed, match="SystemExit: over") as caught:
        futures[1].result()
    assert isinstance(caught.value.__cause__, SystemExit)
    assert [futures[n].result().actions[0, 0] for n in (0, 2)] == [0, 2]
    assert batcher.close(PATIENCE_S)


def test_who_has_failed_is_computed_apart_until_he_succeeds():
    gate = Gate()

    def spoil(request: Request) -> None:
        gate(request)
        if request.instruction == "fail":
            raise ValueError("no")

    bad, good, policy = Asker(), Asker(), FakeServed(spoil)
    batcher, futures = queued(policy, gate, [])
    futures = [batcher.submit(request(words="fail"), bad), batcher.submit(request(), good)]
    gate.opened.set()
    wait(futures, PATIENCE_S)
    assert (bad.has_failed, good.has_failed) == (True, False) and policy.batches == [1, 2, 1, 1]
    gate.opened.clear()
    gate.reached.clear()
    futures = [batcher.submit(request(words="wait"), good)]
    assert gate.reached.wait(PATIENCE_S)
    futures += [batcher.submit(request(7), bad)]
    futures += [batcher.submit(request(n), one) for n in range(2) for one in (good, Asker())]
    gate.opened.set()
    assert [future.result(PATIENCE_S).batch for future in futures] == [1, 1, 4, 4, 4, 4]
    assert not bad.has_failed and batcher.close(PATIENCE_S)


def test_those_who_fail_take_turns_with_those_who_do_not():
    """However many they are: a good one waits for one of them at most."""
    gate, bad, policy = Gate(), [Asker(has_failed=True) for _ in range(5)], FakeServed()
    policy.spoil = gate
    batcher, _ = queued(policy, gate, [], max_batch=1)
    futures = [batcher.submit(request(9), one) for one in bad]
    futures += [batcher.submit(request(n)) for n in range(3)]
    gate.opened.set()
    wait(futures, PATIENCE_S)
    assert [one.number for one in policy.requests[1:]] == [9, 0, 9, 1, 9, 2, 9, 9]
    assert batcher.close(PATIENCE_S)


def test_a_chunk_that_is_none_is_no_answer():
    class Wrong(FakeServed):
        def _chunk(self, request):
            chunk = super()._chunk(request)
            if request.number:
                chunk[3, 2] = np.nan
            return chunk[: 10 - 4 * (request.number == 2)]

    gate = Gate()
    policy = Wrong(gate)
    batcher, futures = queued(policy, gate, [request(n) for n in range(3)])
    gate.opened.set()
    assert futures[0].result(PATIENCE_S).batch == 3
    with pytest.raises(PolicyFailed, match="gave nan for 'joint_2' at frame 3"):
        futures[1].result(PATIENCE_S)
    with pytest.raises(PolicyFailed, match=r"a chunk \[6, 4\] instead of \[10, 4\]"):
        futures[2].result(PATIENCE_S)
    assert policy.batches == [1, 3] and batcher.close(PATIENCE_S)


def test_what_is_cancelled_before_its_turn_is_not_computed():
    gate = Gate()
    policy = FakeServed(gate)
    batcher, futures = queued(policy, gate, [request(n) for n in range(2)])
    assert futures[0].cancel()
    gate.opened.set()
    assert futures[1].result(PATIENCE_S).batch == 1 and batcher.close(PATIENCE_S)


def test_it_answers_what_waits_before_it_ends_and_leaves_behind_what_hangs():
    gate = Gate()
    batcher, futures = queued(FakeServed(gate), gate, [request(n) for n in range(3)], max_batch=2)
    assert not batcher.close(0.01) and batcher.busy_s > 0
    gate.opened.set()
    assert [future.result(PATIENCE_S).actions[0, 0] for future in futures] == [0, 1, 2]
    assert batcher.close(PATIENCE_S) and batcher.busy_s == 0


def test_unusable_settings():
    with pytest.raises(ValueError, match="max_batch starts at 1, got 0"):
        BatchSettings(0)
    with pytest.raises(ValueError, match="0 to 1 second, got 5"):
        BatchSettings(1, 5.0)


@pytest.mark.parametrize("committed_frames", [0, 3])
def test_chunks_do_not_depend_on_who_shares_the_batch(tokenizer, committed_frames):
    """Other words and states, free, guided, and given frames: a tiny VLA, exactly as by itself.

    In float64, where rounding does not hide who depends on whom.
    """
    policy = start(tokenizer, committed_frames=committed_frames)
    precise = replace(policy, model=policy.model.cast(torch.float64))
    deployed = DeployedVLA(precise, "arm", steps=2, seed=3)

    def seen(seed: int) -> RobotObservation:
        images = {"front": picture(seed), "wrist": picture(seed + 50)}
        return RobotObservation(0.0, observe("arm", seed).proprio.numpy(), images)

    committed = [Committed(np.full((n, 4), 0.1 * n), d) for n, d in ((8, 3), (12, 2))]
    requests = [
        Request(seen(0), "wave", 4),
        Request(seen(1), "put the red cube into the drawer on the left", 4, committed[0]),
        Request(seen(2), "stop", 0, seed=11),
        Request(seen(3), "wave", 7, committed[1], seed=5),
    ]
    together = deployed.act_many(requests)
    alone = [deployed.act(r) for r in requests]
    for shared, own in zip(together, alone, strict=True):
        np.testing.assert_allclose(shared, own, atol=1e-5)
    assert np.abs(alone[0] - alone[2]).max() > 0.01 and deployed.image_size == SIZE
