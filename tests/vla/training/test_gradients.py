"""Micro-batches and processes add up to the global batch."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch

from tests.vla.data.conftest import STILL
from vla.data.settings import DataSettings
from vla.data.stream import SampleStream
from vla.flow import DATA
from vla.losses import LossWeights
from vla.training.bridge import compare_gradients, telling_batch
from vla.training.lora import LoraSettings
from vla.training.module import VLAModule
from vla.training.noise import draw_committed, draw_flow
from vla.training.optimizers import OptimizerSettings

WEIGHTS = LossWeights(1.0, 0.5, 0.5)


def gradients(policy, settings, step: int, world: int = 1) -> list[torch.Tensor]:
    """What an optimizer would see of a step: micro-batches added up, processes averaged."""
    model = policy.model
    model.zero_grad()
    for rank in range(world):
        stream = SampleStream.open(policy.samples, settings, rank, world)
        module = VLAModule(WEIGHTS, OptimizerSettings(), LoraSettings(), flow_draws=2)
        module.take(policy, stream.plan)
        for micro in range(settings.accumulation):
            batch = stream.batch(step * settings.accumulation + micro)
            part = module.part(module.losses(batch, step, micro), step)
            total = part.total(module.weights) * stream.plan.cells
            (total / settings.accumulation / world).backward()
    model.eval()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize(("size", "accumulation", "world"), [(5, 4, 1), (5, 2, 2), (2, 10, 1)])
def test_a_global_batch_teaches_the_same_however_it_is_dealt_out(
    policy, recordings, talks, size, accumulation, world
):
    whole = DataSettings((str(recordings),), (str(talks),), batch_size=20, workers=0, **STILL)
    parts = replace(whole, batch_size=size, accumulation=accumulation)
    for step in (0, 3):
        one, other = gradients(policy, whole, step), gradients(policy, parts, step, world)
        largest = max(float(g.abs().max()) for g in one)
        assert len(one) == len(other) and largest > 1e-3
        for expected, found in zip(one, other, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5 * largest, rtol=1e-3)


def test_noise_depends_on_the_place_in_the_global_batch_alone(policy, recordings):
    settings = DataSettings((str(recordings),), batch_size=4, workers=0)
    batch = SampleStream.open(policy.samples, settings).batch(0).repeat_flow(3)
    keys = [(0, 7, number) for number in range(4)]
    whole = draw_flow(batch, keys, 1.5, 0.999)
    frames = batch.horizon // 3
    assert whole.noise.shape == batch.actions.shape and whole.time.shape == (4, 3 * frames)
    times = whole.time.view(4, 3, frames)
    assert (times == times[:, :, :1]).all() and len(times[:, :, 0].unique()) == 12
    rows = {n: getattr(batch, n)[2:3] for n in ("ids", "types", "actions", "action_mask")}
    alone = draw_flow(replace(batch, **rows), keys[2:3], 1.5, 0.999)
    assert torch.equal(alone.noise[0], whole.noise[2]) and torch.equal(alone.time[0], whole.time[2])
    later = draw_flow(batch, [(0, 8, number) for number in range(4)], 1.5, 0.999)
    assert not torch.equal(later.noise, whole.noise)


def test_frames_are_given_away_beside_the_same_noise_and_times(policy, recordings):
    """Whoever else is in the batch, and nothing else changes; a frame is left to learn from."""
    settings = DataSettings((str(recordings),), batch_size=4, workers=0)
    batch = SampleStream.open(policy.samples, settings).batch(0)
    mask = batch.action_mask.clone()
    mask[1, 3:], mask[3] = False, False
    batch = replace(batch, action_mask=mask).repeat_flow(40)
    keys = [(0, 7, number) for number in range(4)]
    plain, found = (draw_flow(batch, keys, 1.5, 0.999, most) for most in (0, 5))
    assert torch.equal(found.noise, plain.noise) and (plain.time < DATA).all()
    given = (found.time == DATA).view(4, 40, -1)
    assert torch.equal(found.time[found.time < DATA], plain.time[found.time < DATA])
    counts = given.sum(-1)
    assert torch.equal(given, torch.arange(given.shape[-1]) < counts[..., None])
    assert counts.amax(-1).tolist() == [5, 2, 5, 0]
    rows = {n: getattr(batch, n)[2:3] for n in ("ids", "types", "actions", "action_mask")}
    alone = draw_flow(replace(batch, **rows), keys[2:3], 1.5, 0.999, 5)
    assert torch.equal(alone.time[0], found.time[2])


def test_half_of_the_draws_are_plain_and_the_others_evenly_spread():
    counts = draw_committed(12_000, 3, torch.Generator().manual_seed(0)).bincount() / 12_000
    torch.testing.assert_close(counts, torch.tensor([3, 1, 1, 1]) / 6, atol=0.01, rtol=0)
    assert not draw_committed(9, 0, torch.Generator()).any()


def test_draws_of_one_step_are_as_if_each_were_a_step_of_its_own(policy, recordings):
    settings = DataSettings((str(recordings),), batch_size=3, workers=0)
    once = SampleStream.open(policy.samples, settings).batch(0)
    batch = once.repeat_flow(2)
    draw = draw_flow(batch, [(n,) for n in range(3)], 1.5, 0.999)
    together = policy.model(batch, draw).each
    frames = once.horizon
    single = [
        policy.model(once, replace(draw, noise=draw.noise[:, part], time=draw.time[:, part])).each
        for part in (slice(0, frames), slice(frames, None))
    ]
    torch.testing.assert_close(together.flow, (single[0].flow + single[1].flow) / 2)
    torch.testing.assert_close(together.action_ce, single[0].action_ce)


def test_shares_and_cosines_are_those_of_the_gradients():
    x, y = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    terms = {"flow": [x, y], "action_ce": [-x, None], "multimodal_ce": [None, None]}
    found = compare_gradients(5, terms)
    assert found.norms == pytest.approx({"flow": 5.0, "action_ce": 3.0, "multimodal_ce": 0.0})
    assert found.shares == pytest.approx({"flow": 0.625, "action_ce": 0.375, "multimodal_ce": 0.0})
    assert found.cosines == pytest.approx({"flow~action_ce": -0.6})
    assert asdict(found)["step"] == 5


def test_the_bridge_waits_for_a_batch_that_tells_of_all_terms(recordings, talks):
    both = DataSettings((str(recordings),), (str(talks),), batch_size=4, workers=0).plan()
    seen = [step for step in range(20) if telling_batch(both, step, 10) is not None]
    assert len(seen) == 2 and 0 < seen[0] < 10 < seen[1] < 20
    for step in seen:
        places = both.places(step, telling_batch(both, step, 10))
        assert {place.robot for place in places} == {True, False}
    alone = DataSettings((str(recordings),), batch_size=4, workers=0).plan()
    assert [s for s in range(20) if telling_batch(alone, s, 10) is not None] == [0, 10]
