"""The network between model space and codes, before and after a few steps of training."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.blocks import Condition, ConditionEmbedding, ResidualNetwork
from rvq_action.metrics import masked_mean
from rvq_action.model import TokenizerModel
from tests.rvq_action.robots import arm_chunk

STEPS = 15


@pytest.fixture(scope="module")
def trained(closed_form) -> ActionTokenizer:
    """After a few steps that saw every prefix, moving codebooks."""
    torch.manual_seed(0)
    tokenizer = replace(closed_form, model=copy.deepcopy(closed_form.model))
    model = tokenizer.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    place = tokenizer.vocabulary.from_order(torch.arange(tokenizer.tokens_per_chunk))
    for step in range(STEPS):
        given = tokenizer.prepare(arm_chunk(128, seed=100 + step))
        length = torch.randint(1, tokenizer.tokens_per_chunk + 1, (128, 1, 1))
        output = model(given.x, given.mask, given.condition, place < length)
        model.quantizer.follow(output.latents.detach())
        error = masked_mean((output.reconstruction - given.x).square(), given.mask)
        optimizer.zero_grad()
        (error + 0.1 * output.commitment).backward()
        optimizer.step()
    model.eval()
    return tokenizer


@pytest.fixture
def given(trained):
    return trained.prepare(arm_chunk(64, seed=7))


def test_training_reaches_encoder_decoder_and_codebooks(closed_form, trained):
    before, after = closed_form.model.state_dict(), trained.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    for part in ("encoder.network", "decoder.network", "decoder.condition"):
        assert any(name.startswith(part) for name in moved)
    assert all(f"quantizer.levels.{k}._codebook.embed" in moved for k in range(3))
    fixed = ("components", "mean", "latent_scale", "error_scale", "support")
    assert not any(name.endswith(fixed) for name in moved)


def test_levels_still_refine_after_training(trained, given):
    codes = trained.model.encode(given.x, given.mask, given.condition)
    with torch.no_grad():
        errors = [
            float(
                masked_mean(
                    (trained.model.decode(codes[..., :k], 20, given.condition) - given.x).square(),
                    given.mask,
                )
            )
            for k in (1, 2, 3)
        ]
    assert errors[0] > errors[1] > errors[2]


@torch.no_grad()
def test_withheld_codes_are_absent_codes(trained, given):
    """What training hides with `keep` is what a prefix lacks at inference."""
    codes = trained.model.encode(given.x, given.mask, given.condition)
    for length in range(trained.tokens_per_chunk + 1):
        prefix = trained.prefix(codes, length)
        hidden = trained.model(given.x, given.mask, given.condition, prefix != -1)
        decoded = trained.model.decode(prefix, 20, given.condition)
        assert torch.equal(hidden.codes, codes)
        assert torch.allclose(hidden.reconstruction, decoded, atol=1e-5)


@torch.no_grad()
def test_a_pass_is_encoding_and_decoding(trained, given):
    output = trained.model(given.x, given.mask, given.condition)
    codes = trained.model.encode(given.x, given.mask, given.condition)
    assert torch.equal(output.codes, codes)
    assert torch.allclose(
        output.reconstruction, trained.model.decode(codes, 20, given.condition), atol=1e-5
    )
    assert output.latents.shape == output.quantized.shape == (64, 6, trained.config.slot_width)


@torch.no_grad()
def test_an_absent_anchor_is_a_masked_anchor(trained, given):
    nowhere = replace(given.condition, anchor_mask=torch.zeros_like(given.condition.anchor_mask))
    absent = given.without_anchor()
    codes = trained.model.encode(absent.x, absent.mask, absent.condition)
    assert torch.equal(trained.model.encode(given.x, given.mask, nowhere), codes)
    decoded = trained.model.decode(codes, 20, absent.condition)
    assert torch.equal(trained.model.decode(codes, 20, nowhere), decoded)


@torch.no_grad()
def test_trained_codes_do_not_depend_on_the_batch(trained, given):
    together = trained.model.encode(given.x, given.mask, given.condition)
    for rows in (torch.tensor([5]), torch.arange(10, 30)):
        part = given.rows(rows)
        alone = trained.model.encode(part.x, part.mask, part.condition)
        assert (alone != together[rows]).float().mean() < 0.005


def test_a_fresh_network_adds_nothing():
    network = ResidualNetwork(5, 7, hidden=8, depth=2)
    assert not network(torch.randn(3, 5), torch.randn(3, 8)).any()


def test_the_condition_tells_embodiment_duration_and_anchor():
    embed = ConditionEmbedding(width=2, num_embodiments=2, hidden=8)
    known = Condition(
        torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.tensor([1]), torch.ones(1)
    )
    others = [
        replace(known, embodiment=torch.tensor([0])),
        replace(known, duration=torch.tensor([2.0])),
        replace(known, anchor=torch.zeros(1, 2)),
        replace(known, anchor_mask=torch.tensor([[True, False]])),
    ]
    assert all(not torch.allclose(embed(known), embed(other)) for other in others)


def test_without_blocks_there_is_no_network(closed_form):
    model = TokenizerModel(replace(closed_form.config, depth=0))
    assert model.encoder.network is None and model.decoder.network is None
