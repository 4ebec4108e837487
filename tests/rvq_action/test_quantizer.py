"""Residual VQ: lookup, moving codebooks, dead codes, support."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from rvq_action import codebook_tables as module
from rvq_action.config import TokenizerConfig
from rvq_action.metrics import code_usage
from rvq_action.quantizer import SlotResidualVQ

CONFIG = TokenizerConfig.tiny(num_slots=3, slot_width=4, num_quantizers=2, codebook_size=16)
S, C, K, V = 3, 4, 2, 16


def installed(config: TokenizerConfig = CONFIG, seed: int = 0) -> SlotResidualVQ:
    """Random codebooks, the second level finer, every code used alike."""
    generator = torch.Generator().manual_seed(seed)
    books = torch.randn(K, S, V, C, generator=generator)
    books[1] *= 0.3
    vq = SlotResidualVQ(config)
    support = torch.ones(K, S, C, dtype=torch.bool)
    vq.set_codebooks(books, support, torch.full((K, S, V), 32.0))
    return vq.eval()


def test_codes_are_the_nearest_and_give_back_the_vectors():
    vq, latents = installed(), torch.randn(50, S, C)
    result = vq.quantize(latents)
    assert torch.equal(result.codes, vq.encode(latents))
    assert torch.allclose(vq.dequantize(result.codes), result.vectors, atol=1e-6)
    for level in range(K):
        residual = latents - vq.dequantize(vq.encode(latents)[..., :level])
        distance = (residual[:, :, None] - vq.codebooks[level]).square().sum(-1)
        assert torch.equal(distance.argmin(-1), result.codes[..., level])


def test_lookup_equals_the_librarys():
    vq, latents = installed(), torch.randn(200, S, C)
    level = copy.deepcopy(vq.levels[0]).eval()
    vectors, codes, _ = level(latents.flatten(1)[:, None])
    ours = vq.encode(latents)[..., :1]
    assert torch.equal(codes.reshape(200, S), ours[..., 0])
    assert torch.allclose(vectors.reshape(200, S, C), vq.dequantize(ours), atol=1e-6)


@pytest.mark.parametrize("scores", [1, 100, 10**9])
def test_memory_is_bounded_without_changing_codes(monkeypatch, scores):
    vq, latents = installed(), torch.randn(70, S, C)
    expected = vq.encode(latents)
    monkeypatch.setattr(module, "SCORES", scores)
    assert torch.equal(vq.encode(latents), expected)


def test_absent_codes_add_nothing():
    vq = installed()
    codes = vq.encode(torch.randn(20, S, C))
    coarse = codes.clone()
    coarse[..., 1] = -1
    assert torch.equal(vq.dequantize(coarse), vq.dequantize(codes[..., :1]))
    assert not vq.dequantize(torch.full_like(codes, -1)).any()


def test_gradients_pass_straight_through():
    vq, latents = installed(), torch.randn(8, S, C, requires_grad=True)
    result = vq.quantize(latents)
    result.vectors.sum().backward(retain_graph=True)
    assert torch.equal(latents.grad, torch.ones_like(latents))
    latents.grad = None
    result.commitment.backward()
    assert latents.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_quantisation_runs_in_float32(dtype):
    vq, latents = installed(), torch.randn(64, S, C).to(dtype)
    expected = vq.encode(latents.float())
    assert torch.equal(vq.encode(latents), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(vq.encode(latents), expected)
        assert torch.equal(vq.quantize(latents).codes, expected)
    moved = []
    for autocast in (True, False):
        vq = installed()
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            vq.follow(latents)
        moved.append(vq.codebooks)
    assert torch.equal(*moved)


def test_looking_up_moves_nothing():
    vq = installed().train()
    before = copy.deepcopy(vq.state_dict())
    vq.quantize(torch.randn(64, S, C) + 3)
    vq.encode(torch.randn(64, S, C) + 3)
    assert all(torch.equal(before[k], v) for k, v in vq.state_dict().items())


def test_codebooks_follow_the_data():
    vq = installed(replace(CONFIG, decay=0.9))
    latents = torch.randn(256, S, C) * 0.5 + 1.0
    errors = []
    for _ in range(30):
        vq.follow(latents)
        errors.append(float((vq.dequantize(vq.encode(latents)) - latents).square().mean()))
    assert errors[-1] < 0.6 * errors[0]
    assert vq.codebooks.isfinite().all()


def test_the_first_step_after_installing_throws_no_code_off():
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(256, S, C, generator=generator)
    vq = installed()
    codes = vq.encode(latents)
    usage = code_usage(codes, V).transpose(0, 1).float()
    usage[:, :, :3] = 0
    vq.set_codebooks(vq.codebooks, vq.support, usage)
    before = vq.codebooks.clone()
    vq.follow(latents)
    assert (vq.codebooks - before).norm(dim=-1).max() < 0.1


def test_components_outside_the_support_stay_zero():
    vq = installed()
    support = torch.ones(K, S, C, dtype=torch.bool)
    support[:, 1, 2:] = False
    vq.set_codebooks(vq.codebooks * support[:, :, None], support, torch.ones(K, S, V))
    for _ in range(5):
        vq.follow(torch.randn(64, S, C) * 3)
    assert not vq.codebooks[:, 1, :, 2:].any()
    assert vq.codebooks[:, 0].abs().min() > 0


def test_dead_codes_become_samples():
    vq = installed(replace(CONFIG, decay=0.5))
    books = vq.codebooks.clone()
    books[0, 0, :4] = 1000.0
    vq.set_codebooks(books, vq.support, torch.full((K, S, V), 32.0))
    latents = torch.randn(256, S, C)
    for _ in range(12):
        vq.follow(latents)
    assert vq.codebooks.abs().max() < 10
    used = torch.bincount(vq.encode(latents)[:, 0, 0], minlength=V)
    assert (used > 0).sum() > 12


def test_later_levels_learn_no_preferred_sign():
    """The second level also sees its residuals with random signs."""
    vq = installed(replace(CONFIG, decay=0.5)).train()
    torch.manual_seed(0)
    for _ in range(20):
        vq.quantize(torch.randn(512, S, C))
    assert vq.codebooks[1].mean(1).abs().max() < 0.2


def test_a_batch_of_none_has_no_codes():
    vq = installed()
    assert vq.encode(torch.zeros(0, S, C)).shape == (0, S, K)
    assert vq.quantize(torch.zeros(0, S, C)).vectors.shape == (0, S, C)


def test_robots_with_fewer_slots_move_and_meet_only_those():
    vq = installed().train()
    few, many = torch.randn(40, 1, C), torch.randn(40, S, C)
    assert torch.equal(vq.encode(many)[:, :1], vq.encode(many[:, :1]))
    assert torch.allclose(vq.dequantize(vq.encode(few)), vq.quantize(few).vectors, atol=1e-6)
    alone = copy.deepcopy(vq)
    torch.manual_seed(0)
    alone.follow(few)
    before, after = vq.codebooks, alone.codebooks
    assert not torch.equal(after[:, 0], before[:, 0])
    assert torch.allclose(after[:, 1:], before[:, 1:], atol=1e-6)


def test_dead_codes_are_reset_to_samples_of_robots_that_fill_the_slot():
    vq = installed().train()
    book = vq.levels[0]._codebook
    book.cluster_size[1, 3] = 0.0
    few, many = torch.full((50, 1, C), 9.0), torch.randn(2, S, C)
    vq.follow(few, many)
    assert any(torch.equal(vq.codebooks[0, 1, 3], sample) for sample in many[:, 1])
