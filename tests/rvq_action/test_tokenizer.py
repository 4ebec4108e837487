"""What an ActionTokenizer promises, on a closed form and with networks that have a say."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from rvq_action import WALL_26, ActionChunk, ActionTokenizer
from rvq_action.metrics import masked_mean
from rvq_action.rotation import matrix_to_rot6d, rot6d_to_matrix
from tests.rvq_action.robots import ARM_FPS, arm_chunk, wall_chunk

CONDITIONS = [(), ("anchor",), ("embodiment",), ("anchor", "embodiment")]


def encode(tokenizer: ActionTokenizer, chunk: ActionChunk, **options) -> torch.Tensor:
    robot = (chunk.anchor, chunk.embodiment, chunk.fps)
    return tokenizer.encode(chunk.actions, *robot, **{"mask": chunk.mask, **options})


def decode(tokenizer: ActionTokenizer, codes: torch.Tensor, chunk: ActionChunk, **options):
    robot = (chunk.anchor, chunk.embodiment, chunk.fps)
    return tokenizer.decode(codes, chunk.horizon, *robot, **options)


@torch.no_grad()
def error(tokenizer: ActionTokenizer, codes: torch.Tensor, chunk: ActionChunk) -> float:
    """Mean squared error in model space."""
    given = tokenizer.prepare(chunk)
    frames = tokenizer.model.decode(codes, chunk.horizon, given.condition)
    return float(masked_mean((frames - given.x).square(), given.mask))


def test_a_chunk_comes_back(closed_form, chunk):
    codes = encode(closed_form, chunk)
    assert codes.shape == (24, closed_form.config.num_slots, closed_form.config.num_quantizers)
    back = decode(closed_form, codes, chunk)
    assert back.shape == chunk.actions.shape and not back[~chunk.mask].any()
    deviation = masked_mean((back - chunk.actions).square(), chunk.mask)
    assert deviation < 0.06 * masked_mean(chunk.actions.square(), chunk.mask)


def test_every_token_of_the_closed_form_lowers_the_error(closed_form, chunk):
    codes = encode(closed_form, chunk)
    lengths = range(closed_form.tokens_per_chunk + 1)
    errors = [error(closed_form, closed_form.prefix(codes, n), chunk) for n in lengths]
    slots = closed_form.config.num_slots
    per_level = errors[::slots]
    assert all(after < 0.8 * before for before, after in itertools.pairwise(per_level))
    assert all(after < 1.02 * before for before, after in itertools.pairwise(errors))


def test_every_prefix_decodes_and_equals_its_slice(tokenizer, chunk):
    codes = encode(tokenizer, chunk)
    slots = tokenizer.config.num_slots
    for length in range(tokenizer.tokens_per_chunk + 1):
        assert decode(tokenizer, tokenizer.prefix(codes, length), chunk).isfinite().all()
    early = decode(tokenizer, codes[..., :1], chunk)
    assert torch.equal(early, decode(tokenizer, tokenizer.prefix(codes, slots), chunk))


def test_absent_codes_change_nothing_but_themselves(tokenizer, chunk):
    codes = encode(tokenizer, chunk)
    assert torch.equal(tokenizer.prefix(codes, tokenizer.tokens_per_chunk), codes)
    assert (tokenizer.prefix(codes, 0) == -1).all()
    some = tokenizer.prefix(codes, 7)
    assert int((some != -1).sum()) == 7 * len(codes)
    assert torch.equal(some[some != -1], codes[some != -1])


@pytest.mark.parametrize("encoding", CONDITIONS)
@pytest.mark.parametrize("decoding", CONDITIONS)
def test_anchor_and_embodiment_may_be_withheld(tokenizer, encoding, decoding):
    chunk = arm_chunk(8, seed=3)
    codes = encode(tokenizer, chunk, condition_on=encoding)
    back = decode(tokenizer, codes, chunk, condition_on=decoding)
    assert masked_mean((back - chunk.actions).square(), chunk.mask) < 0.5


def test_the_networks_do_see_the_condition(networked):
    chunk = arm_chunk(8, seed=3)
    codes = encode(networked, chunk)
    backs = [decode(networked, codes, chunk, condition_on=c) for c in CONDITIONS]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(backs, 2))


def test_relative_actions_need_no_anchor(tokenizer):
    chunk = arm_chunk(8, seed=3)
    relative = chunk.actions - chunk.anchor[:, None] * torch.tensor([1, 1, 1, 0])
    robot = {"embodiment": "arm", "fps": ARM_FPS, "relative": True}
    codes = tokenizer.encode(relative, **robot)
    assert torch.equal(codes, encode(tokenizer, chunk, condition_on=("embodiment",)))
    back = tokenizer.decode(codes, chunk.horizon, **robot)
    same = decode(tokenizer, codes, chunk, condition_on=("embodiment",), relative=True)
    assert torch.equal(back, same)


@pytest.mark.parametrize("codes", ["random", "with gaps", "first", "last"])
def test_any_codes_decode_inside_the_training_range(tokenizer, chunk, codes):
    c = tokenizer.config
    shape, top = (64, c.num_slots, c.num_quantizers), c.codebook_size
    generator = torch.Generator().manual_seed(1)
    drawn = {
        "random": torch.randint(0, top, shape, generator=generator),
        "with gaps": torch.randint(-1, top, shape, generator=generator),
        "first": torch.zeros(shape, dtype=torch.int64),
        "last": torch.full(shape, top - 1),
    }[codes]
    known = tokenizer.embodiments[chunk.embodiment]
    frames = tokenizer.decode(drawn, 30, embodiment=chunk.embodiment, relative=True)
    assert frames.isfinite().all()
    assert known.range.contains(frames).all()


def test_any_codes_decode_to_rotations(tokenizer):
    chunk = wall_chunk(24, seed=7)
    c = tokenizer.config
    codes = torch.randint(-1, c.codebook_size, (24, c.num_slots, c.num_quantizers))
    block = [WALL_26.index(f"right_rot6d_{i}") for i in range(6)]
    for options in ({"relative": True}, {}):
        rot6d = decode(tokenizer, codes, chunk, **options)[..., block]
        assert torch.allclose(matrix_to_rot6d(rot6d_to_matrix(rot6d)), rot6d, atol=1e-5)


@pytest.mark.parametrize("horizon", [2, 3, 19, 20, 21, 64, 128])
@pytest.mark.parametrize("fps", [5, 200.0])
def test_any_horizon_and_rate(tokenizer, horizon, fps):
    chunk = arm_chunk(4, horizon, ARM_FPS, seed=5)
    codes = tokenizer.encode(chunk.actions, chunk.anchor, "arm", fps)
    back = tokenizer.decode(codes, horizon, chunk.anchor, "arm", fps)
    assert back.shape == (4, horizon, 4) and back.isfinite().all()


@pytest.mark.parametrize("horizon", [10, 40])
def test_a_motion_has_about_the_same_meaning_at_another_rate(closed_form, horizon):
    fine = arm_chunk(64, 40, 40.0, seed=5)
    step = 40 // horizon
    coarse = replace(fine, actions=fine.actions[:, ::step], mask=fine.mask[:, ::step], fps=horizon)
    joints = torch.tensor([True, True, True, False])
    codes = encode(closed_form, coarse, mask=coarse.mask & joints)
    back = decode(closed_form, codes, fine)
    deviation = (back - fine.actions)[..., :3].square().mean()
    assert deviation < 0.15 * (fine.actions - fine.anchor[:, None])[..., :3].square().mean()


@pytest.mark.parametrize("garbage", [1e9, float("nan"), float("-inf")])
def test_what_the_mask_hides_never_changes_codes(tokenizer, chunk, garbage):
    mask = chunk.mask.clone()
    mask[::2, -3:] = False
    mask[1::2, :, WALL_26.index("right_x") if chunk.embodiment == "wall" else 1] = False
    clean = encode(tokenizer, chunk, mask=mask)
    dirty = replace(chunk, actions=torch.where(mask, chunk.actions, garbage), mask=mask)
    assert torch.equal(encode(tokenizer, dirty), clean)
    given = tokenizer.prepare(dirty)
    assert torch.equal(tokenizer.model.encode(given.x, given.mask, given.condition), clean)
    assert not torch.equal(encode(tokenizer, chunk), clean)


def test_channels_never_seen_in_training_are_ignored(tokenizer):
    chunk = wall_chunk(8, seed=3)
    everything = torch.ones_like(chunk.mask)
    loud = torch.where(chunk.mask, chunk.actions, 100.0)
    heard = encode(tokenizer, replace(chunk, actions=loud), mask=everything)
    assert torch.equal(heard, encode(tokenizer, chunk))


def test_a_chunk_with_nothing_real_is_a_chunk(tokenizer):
    chunk = arm_chunk(2)
    codes = encode(tokenizer, chunk, mask=torch.zeros(4, dtype=torch.bool))
    assert decode(tokenizer, codes, chunk).isfinite().all()


def test_codes_do_not_depend_on_the_rest_of_the_batch(tokenizer, chunk):
    """But for ties within float32's rounding, which sums in another order for another batch."""
    together = encode(tokenizer, chunk)
    robot = {"embodiment": chunk.embodiment, "fps": chunk.fps}
    alone = [
        tokenizer.encode(a[None], proprio[None], mask=mask[None], **robot)
        for a, proprio, mask in zip(chunk.actions, chunk.anchor, chunk.mask, strict=True)
    ]
    assert (torch.cat(alone) != together).float().mean() < 0.005


def test_a_batch_of_none_is_a_batch(tokenizer, chunk):
    none = replace(
        chunk,
        actions=chunk.actions[:0],
        mask=chunk.mask[:0],
        anchor=chunk.anchor[:0],
        anchor_mask=chunk.anchor_mask[:0],
    )
    codes = encode(tokenizer, none)
    assert codes.shape == (0, tokenizer.config.num_slots, tokenizer.config.num_quantizers)
    assert encode(tokenizer, none, tolerance=0.1).shape == codes.shape
    assert decode(tokenizer, codes, none).shape == none.actions.shape


@pytest.mark.parametrize("kind", [np.float32, np.float64, "strided", "reversed", "read-only"])
def test_every_kind_of_numpy_array_gives_the_same_codes(tokenizer, kind):
    chunk = arm_chunk(6, seed=2)
    expected = encode(tokenizer, chunk)
    actions, proprio = chunk.actions.numpy(), chunk.anchor.numpy()
    if kind == "strided":
        actions = np.asfortranarray(actions)
    elif kind == "reversed":
        actions = np.ascontiguousarray(actions[::-1])[::-1]
    elif kind == "read-only":
        actions, proprio = actions.copy(), proprio.copy()
        actions.setflags(write=False)
        proprio.setflags(write=False)
    else:
        actions, proprio = actions.astype(kind), proprio.astype(np.float64)
    codes = tokenizer.encode(actions, proprio, "arm", 20)
    assert isinstance(codes, np.ndarray) and codes.dtype == np.int64
    assert np.array_equal(codes, expected.numpy())
    back = tokenizer.decode(codes.astype(np.int32), 20, proprio, "arm", 20)
    assert isinstance(back, np.ndarray) and back.dtype == np.float32
    assert np.array_equal(back, decode(tokenizer, expected, chunk).numpy())


def test_inputs_are_left_as_they_were(tokenizer):
    chunk = arm_chunk(4)
    codes = encode(tokenizer, chunk, tolerance=0.1)
    before = codes.clone()
    decode(tokenizer, codes, chunk)
    tokenizer.prefix(codes, 3)
    assert torch.equal(codes, before) and torch.equal(chunk.actions, arm_chunk(4).actions)


def test_outputs_are_ordinary_tensors(tokenizer):
    chunk = arm_chunk(4)
    codes = encode(tokenizer, chunk)
    back = decode(tokenizer, codes, chunk)
    assert not codes.is_inference() and not back.is_inference() and not back.requires_grad


def test_encoding_never_moves_a_codebook(networked):
    before = networked.model.quantizer.codebooks.clone()
    try:
        networked.model.train()
        codes = encode(networked, arm_chunk(64))
    finally:
        networked.model.eval()
    assert torch.equal(networked.model.quantizer.codebooks, before)
    assert torch.equal(encode(networked, arm_chunk(64)), codes)


def test_proprio_may_be_unknown_where_nothing_is_relative_to_it(tokenizer):
    chunk = arm_chunk(4)
    partly = chunk.anchor.clone()
    partly[:, 3] = float("nan")
    codes = tokenizer.encode(chunk.actions, partly, "arm")
    assert tokenizer.decode(codes, 20, partly, "arm").isfinite().all()


def test_a_masked_channel_needs_no_proprio(tokenizer):
    chunk = arm_chunk(4)
    partly = chunk.anchor.clone()
    partly[:, 1] = float("nan")
    mask = torch.tensor([True, False, True, True])
    assert (tokenizer.encode(chunk.actions, partly, "arm", mask=mask) >= 0).all()


def test_the_vocabulary_takes_what_encode_gives(tokenizer):
    chunk = arm_chunk(4)
    codes = tokenizer.encode(chunk.actions.numpy(), chunk.anchor.numpy(), "arm")
    ids = tokenizer.vocabulary.to_ids(codes)
    assert ids.shape == (4, tokenizer.tokens_per_chunk)
    assert np.array_equal(tokenizer.vocabulary.to_codes(ids), codes)


def test_figures_of_the_code(tokenizer):
    assert tokenizer.tokens_per_chunk == len(tokenizer.token_order) == 18
    assert tokenizer.bits_per_token == 6.0
    assert tokenizer.layout("wall") is WALL_26
