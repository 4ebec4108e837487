"""Semantic slots: what their codes depend on, and what the codes below them never touch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.closed_form.semantic_codebooks import fit_semantic_codebooks
from rvq_action.config import TokenizerConfig
from rvq_action.semantic import LEVEL, semantic_part
from tests.rvq_action.robots import ARM, RECIPE, arm_chunk, fit

SLOTS = 2
SEMANTIC = replace(RECIPE, semantic_slots=SLOTS, semantic_width=5, slots_per_channel=1.0)


@pytest.fixture(scope="module")
def tokenizer() -> ActionTokenizer:
    return fit({"arm": (ARM, arm_chunk(1024))}, SEMANTIC)


def moved(tokenizer: ActionTokenizer, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Codes of chunks, and of the same motion somewhere else."""
    chunk, offset = arm_chunk(64, seed=3), distance * torch.tensor([1.0, 1.0, 1.0, 0.0])
    actions, anchor = chunk.actions.numpy(), chunk.anchor.numpy()
    there = tokenizer.encode(actions + offset.numpy(), proprio=anchor + offset.numpy())
    return tokenizer.encode(actions, proprio=anchor), there


def test_semantic_codes_know_where_the_robot_is_and_the_others_do_not(tokenizer):
    here, there = moved(tokenizer, 1.0)
    differs = (here != there).mean(0)
    assert differs[:SLOTS, LEVEL].min() > 0.2
    others = np.delete(differs.flatten(), [slot * RECIPE.num_quantizers for slot in range(SLOTS)])
    assert others.max() < 0.02


def test_semantic_codes_depend_on_the_motion_too(tokenizer):
    chunk = arm_chunk(64, seed=3)
    anchor = chunk.anchor.numpy()
    still = np.repeat(anchor[:, None], chunk.horizon, axis=1)
    codes = [tokenizer.encode(a, proprio=anchor) for a in (chunk.actions.numpy(), still)]
    assert (codes[0] != codes[1])[:, :SLOTS, LEVEL].any()


def test_many_semantic_codes_are_in_use_from_the_start(tokenizer):
    chunk = arm_chunk(1024)
    codes = tokenizer.encode(chunk.actions, proprio=chunk.anchor)
    for slot in range(SLOTS):
        assert len(codes[:, slot, LEVEL].unique()) > tokenizer.config.codebook_size / 2


def test_levels_keep_to_their_part_of_the_latents(tokenizer):
    books = tokenizer.model.quantizer.codebooks.transpose(1, 2)
    first = tokenizer.config.slot_width - tokenizer.config.semantic_width
    assert not books[LEVEL, :, :SLOTS, :first].any()
    assert not books[LEVEL + 1 :, :, :SLOTS, first:].any()


def test_semantic_points_lie_on_a_sphere(tokenizer):
    given = tokenizer.prepare(arm_chunk(8))
    latents = tokenizer.model.latents(given.x, given.mask, given.condition)
    points = semantic_part(latents, tokenizer.config)
    assert points.shape == (8, SLOTS, 5)
    torch.testing.assert_close(points.norm(dim=-1), torch.ones(8, SLOTS))


def test_the_motion_survives_in_the_levels_below(tokenizer):
    """With S·K − M tokens for the motion it is told nearly as well as with S·K."""
    chunk = arm_chunk(256, seed=9)
    plain = fit({"arm": (ARM, arm_chunk(1024))}, replace(SEMANTIC, semantic_slots=0))
    errors = []
    for tok in (tokenizer, plain):
        codes = tok.encode(chunk.actions, proprio=chunk.anchor)
        decoded = tok.decode(codes, chunk.horizon, proprio=chunk.anchor)
        errors.append(float((decoded - chunk.actions).square().mean()))
    assert errors[0] < 3 * errors[1]


def test_fitting_goes_on_from_what_the_codes_stood_for(tokenizer):
    """A code keeps its meaning: most chunks keep their codes when the codebooks are fitted on."""
    given, generator = tokenizer.prepare(arm_chunk(1024)), torch.Generator().manual_seed(1)
    before = tokenizer.model.quantizer.semantic
    points = semantic_part(
        tokenizer.model.latents(given.x, given.mask, given.condition), tokenizer.config
    )
    on, _ = fit_semantic_codebooks(tokenizer.model, [given], 2, generator)
    fresh, shares = fit_semantic_codebooks(tokenizer.model, [given], 2, generator, fresh=True)

    def codes(books):
        return torch.cdist(points.transpose(0, 1), books).argmin(-1)

    assert (codes(on) == codes(before)).float().mean() > 0.7
    assert (codes(fresh) == codes(before)).float().mean() < 0.3
    torch.testing.assert_close(shares.sum(-1), torch.ones(SLOTS))


def test_semantic_slots_need_a_width():
    with pytest.raises(ValueError, match="semantic_width above 0"):
        TokenizerConfig.tiny(semantic_slots=1)


def test_one_level_is_enough(tmp_path):
    recipe = replace(SEMANTIC, num_quantizers=1)
    tok = fit({"arm": (ARM, arm_chunk(1024))}, recipe)
    tok.save_pretrained(tmp_path / "tok")
    again = ActionTokenizer.from_pretrained(tmp_path / "tok")
    chunk = arm_chunk(16)
    codes = [t.encode(chunk.actions, proprio=chunk.anchor) for t in (tok, again)]
    assert torch.equal(*codes) and codes[0].shape[2] == 1
