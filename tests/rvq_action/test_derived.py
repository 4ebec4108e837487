"""Values kept between calls follow every change of what they were made from."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rvq_action import ActionTokenizer
from rvq_action.blocks import ResidualNetwork
from rvq_action.derived import Derived
from tests.rvq_action.robots import arm_chunk


def network() -> ResidualNetwork:
    return ResidualNetwork(5, 7, hidden=8, depth=1)


@torch.no_grad()
def step(taught: ResidualNetwork, optimizer: type[torch.optim.Optimizer], **options) -> None:
    """One step of an optimizer, away from 0."""
    with torch.enable_grad():
        taught(torch.ones(4, 5), torch.ones(4, 8)).sum().backward()
    optimizer(taught.parameters(), lr=0.1, **options).step()


@pytest.mark.parametrize("options", [{"foreach": False}, {"foreach": True}, {"fused": True}])
@torch.no_grad()
def test_a_network_is_silent_until_it_is_taught(options):
    taught = network()
    assert taught.is_silent and not taught(torch.randn(4, 5), torch.randn(4, 8)).any()
    step(taught.train(), torch.optim.AdamW, **options)
    taught.eval()
    assert not taught.is_silent
    loaded = network()
    assert loaded.is_silent
    loaded.load_state_dict(taught.state_dict())
    assert not loaded.is_silent


@torch.no_grad()
def test_an_average_hears_of_what_it_averages():
    taught = network()
    average = AveragedModel(taught, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    assert average.module.is_silent
    average.update_parameters(taught)
    step(taught, torch.optim.SGD)
    average.update_parameters(taught)
    assert not average.module.is_silent


def test_a_silent_network_still_learns():
    taught = network()
    assert not taught.is_silent, "gradients are recorded, so it must be asked"


def test_a_copy_and_another_place_are_computed_anew():
    kept: Derived[float] = Derived()
    tensor = torch.ones(3)

    def total() -> float:
        return kept.get([tensor], lambda: float(tensor.sum()))

    assert total() == 3.0
    tensor.mul_(2)
    assert total() == 6.0
    tensor.data = torch.full((3,), 5.0)
    assert total() == 15.0
    with torch.inference_mode():
        tensor = torch.ones(3)
        assert total() == 3.0
        tensor.mul_(2)
        assert total() == 6.0


def test_what_one_look_computed_serves_training_afterwards(closed_form):
    model = copy.deepcopy(closed_form.model)
    with torch.inference_mode():
        codes = model.encode(*_given(closed_form))
    x, mask, condition = _given(closed_form)
    output = model(x, mask, condition)
    assert torch.equal(output.codes, codes)
    output.reconstruction.square().mean().backward()
    assert model.decoder.network.leave.weight.grad.any()


def test_codes_follow_codebooks_that_move(closed_form):
    model = copy.deepcopy(closed_form.model)
    x, mask, condition = _given(closed_form)
    with torch.no_grad():
        before = model.encode(x, mask, condition)
        model.quantizer.follow(model.latents(x, mask, condition) + 1.0)
        after = model.encode(x, mask, condition)
        books, latents = model.quantizer.codebooks, model.latents(x, mask, condition)
    first = (latents[:, :, None] - books[0]).square().sum(-1).argmin(-1)
    assert torch.equal(after[..., 0], first) and not torch.equal(after, before)


def _given(tokenizer: ActionTokenizer) -> tuple:
    given = tokenizer.prepare(arm_chunk(64, seed=5))
    return given.x, given.mask, given.condition
