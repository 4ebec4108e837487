"""On a GPU the fast path is one recording; it gives what the plain path gives there."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from tests.vla.conftest import observe, picture, start
from tests.vla.inference.test_fast import drawn, prompts
from vla.flow import Given, seeded
from vla.inference.bench.settings import BenchSettings
from vla.inference.bench.study import CACHED, COMPILED, FAST, PLAIN, compute
from vla.inference.fast import FastSampler
from vla.inference.replay import GraphReplay
from vla.policy import VLAPolicy

pytestmark = pytest.mark.cuda
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture
def policy(tokenizer, tmp_path) -> VLAPolicy:
    """In float32, loaded as a deployment would."""
    start(tokenizer).save_pretrained(tmp_path / "policy")
    return VLAPolicy.from_pretrained(tmp_path / "policy", "cuda")


@pytest.mark.parametrize(("robots", "ragged"), [(("arm",), False), (("arm", "wall", "arm"), True)])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_recording_gives_what_the_plain_path_gives(policy, robots, ragged, compiled):
    sampler = FastSampler(policy.model, compiled=compiled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if compiled else "error")
        for seed in range(3):
            batch = prompts(policy, robots, 9, ragged=ragged)
            noise = drawn(batch, seed).cuda()
            plain = policy.model.sample_actions(batch, noise, 4, cached=False)
            fast = sampler.sample_actions(batch, noise, 4)
            torch.testing.assert_close(fast, plain, **CLOSE)
    (plan,) = sampler._plans.values()
    assert isinstance(plan.replay, GraphReplay)


def test_a_recording_sees_every_observation_anew(policy):
    sampler = FastSampler(policy.model)
    found = []
    for seed in range(3):
        now = observe("arm")
        now = replace(now, images={name: picture(50 + seed) for name in now.images})
        batch = policy.batch([policy.samples.to_act(now, 6)])
        noise = drawn(batch).cuda()
        found.append(sampler.sample_actions(batch, noise, 3))
        expected = policy.model.sample_actions(batch, noise, 3)
        torch.testing.assert_close(found[-1], expected, **CLOSE)
    assert (found[0] - found[1]).abs().max() > 1e-2 and len(sampler.shapes) == 1


def test_one_recording_serves_chunks_that_go_on_and_free_ones(policy):
    sampler, batch = FastSampler(policy.model), prompts(policy, ("arm", "wall"), 9)
    noise = drawn(batch).cuda()
    given = Given(drawn(batch, 1).cuda(), torch.tensor([3, 0], device="cuda"))
    for told in (None, given, None):
        fast = sampler.sample_actions(batch, noise, 4, given=told)
        plain = policy.model.sample_actions(batch, noise, 4, cached=False, given=told)
        torch.testing.assert_close(fast, plain, **CLOSE)
    assert len(sampler.shapes) == 1


def test_weights_that_change_are_recorded_anew(policy):
    sampler = FastSampler(policy.model)
    batch = prompts(policy)
    noise = drawn(batch).cuda()
    before = sampler.sample_actions(batch, noise, 3)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(1.1)
    after = sampler.sample_actions(batch, noise, 3)
    torch.testing.assert_close(after, policy.model.sample_actions(batch, noise, 3), **CLOSE)
    assert (after - before).abs().max() > 1e-3


def test_an_accelerated_policy_acts_from_the_hosts_memory(policy):
    """Pictures and state come as arrays and go as an array."""
    now = observe("arm")
    given = now.images, now.proprio, now.instruction
    actions = [
        torch.as_tensor(acting.generate_flow_action(*given, 7, "arm", generator=seeded(3)))
        for acting in (policy, policy.accelerated())
    ]
    torch.testing.assert_close(*actions, **CLOSE)


def test_the_bench_has_a_gpus_bounds():
    told = {"device": "cuda", "views": (1, 2), "steps": 2, "compiled": True, "horizon": 8}
    bench = compute(BenchSettings(config="mini", repeats=5, **told))
    assert bench.rates is not None and bench.rates.flop_per_s > bench.rates.bytes_per_s > 1e9
    for entry in bench.entries:
        assert set(entry.ways) == {PLAIN, CACHED, FAST, COMPILED}
        assert all(way.peak_gb is not None and way.peak_gb > 0 for way in entry.ways.values())
        assert entry.bounds is not None and entry.bounds.weights > 0
