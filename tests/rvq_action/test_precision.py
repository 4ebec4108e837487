"""Under bf16 autocast the networks run in bf16; what decides codes and frames does not."""

from __future__ import annotations

import pytest
import torch

from rvq_action import ActionTokenizer
from tests.rvq_action.robots import arm_chunk, wall_chunk


@pytest.fixture(params=[arm_chunk, wall_chunk], ids=["arm", "wall"])
def chunk(request):
    return request.param(64, seed=7)


def through(tokenizer: ActionTokenizer, chunk, codes=None):
    """Codes of the chunk and what codes (by default these) decode to."""
    robot = (chunk.anchor, chunk.embodiment, chunk.fps)
    encoded = tokenizer.encode(chunk.actions, *robot, mask=chunk.mask)
    return encoded, tokenizer.decode(encoded if codes is None else codes, chunk.horizon, *robot)


def bf16():
    return torch.autocast("cpu", torch.bfloat16)


def test_a_closed_form_says_the_same_to_the_bit(closed_form, chunk):
    codes, frames = through(closed_form, chunk)
    with bf16():
        again, same = through(closed_form, chunk)
    assert torch.equal(again, codes) and torch.equal(same, frames)
    assert same.dtype == torch.float32


def test_networks_round_and_little_changes(networked, chunk):
    codes, frames = through(networked, chunk)
    with bf16():
        again, close = through(networked, chunk, codes)
    assert close.dtype == torch.float32
    assert not torch.equal(close, frames), "the network did not run in bf16"
    moved = (frames - chunk.actions)[chunk.mask].square().mean().sqrt()
    assert (close - frames)[chunk.mask].square().mean().sqrt() < 0.05 * moved
    assert (again[..., 0] == codes[..., 0]).double().mean() > 0.95


@torch.no_grad()
def test_quantisation_sees_float32(networked, chunk):
    """Whatever precision the latents come in, their codes are those of the same numbers."""
    given = networked.prepare(chunk)
    quantizer = networked.model.quantizer
    with bf16():
        latents = networked.model.latents(given.x, given.mask, given.condition)
        inside = quantizer.encode(latents)
        vectors = quantizer.dequantize(inside)
    assert vectors.dtype == torch.float32
    assert torch.equal(inside, quantizer.encode(latents.float()))
