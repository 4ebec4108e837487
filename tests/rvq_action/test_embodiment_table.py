"""Robots that a tokenizer was not fitted on, added with a linear path of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.embodiment import Embodiment
from rvq_action.layout import joint_space
from rvq_action.metrics import masked_mean
from rvq_action.statistics import StatisticsBuilder
from tests.rvq_action.robots import ARM, ARM_FPS, arm_chunk


def scaled_arm(count: int, seed: int):
    """The arm's motions by a robot that moves three times as far."""
    chunk = arm_chunk(count, seed=seed)
    return replace(chunk, actions=3 * chunk.actions, anchor=3 * chunk.anchor, embodiment="big")


@pytest.fixture
def big() -> Embodiment:
    builder = StatisticsBuilder(ARM)
    builder.update(scaled_arm(512, seed=3))
    return Embodiment(ARM, builder.build(), ARM_FPS)


def encode_big(tokenizer: ActionTokenizer) -> torch.Tensor:
    chunk = scaled_arm(64, seed=7)
    return tokenizer.encode(chunk.actions, chunk.anchor, "big", mask=chunk.mask)


def error_of(tokenizer: ActionTokenizer) -> float:
    """Mean squared, of the big arm with all tokens."""
    chunk = scaled_arm(64, seed=7)
    back = tokenizer.decode(encode_big(tokenizer), chunk.horizon, chunk.anchor, "big")
    return float(masked_mean((back - chunk.actions).square(), chunk.mask))


def test_an_added_robot_is_coded_like_the_one_it_resembles(one_arm, big):
    tokenizer = one_arm.with_embodiment("big", big, scaled_arm(512, seed=3))
    chunk, small = scaled_arm(64, seed=7), arm_chunk(64, seed=7)
    codes = tokenizer.encode(chunk.actions, chunk.anchor, "big", mask=chunk.mask)
    back = tokenizer.decode(codes, chunk.horizon, chunk.anchor, "big")
    error = masked_mean((back - chunk.actions).square(), chunk.mask)
    theirs = tokenizer.encode(small.actions, small.anchor, "arm", mask=small.mask)
    known = tokenizer.decode(theirs, small.horizon, small.anchor, "arm")
    reference = masked_mean((known - small.actions).square(), small.mask)
    assert error < 2 * 9 * reference


def test_an_added_robot_known_by_its_statistics_alone_is_coded_well_enough(one_arm, big):
    by_windows = one_arm.with_embodiment("big", big, scaled_arm(512, seed=3))
    alone = one_arm.with_embodiment("big", big)
    assert alone.vocabulary_of("big").tokens_per_chunk == one_arm.tokens_per_chunk
    fits, bound = error_of(by_windows), error_of(alone)
    assert fits < bound < 4 * fits
    assert torch.equal(*(encode_big(t) for t in (alone, one_arm.with_embodiment("big", big))))


def test_any_prefix_and_any_codes_of_such_a_robot_decode_inside_its_range(one_arm, big):
    tokenizer = one_arm.with_embodiment("big", big)
    chunk, codes = scaled_arm(64, seed=7), encode_big(tokenizer)
    generator = torch.Generator().manual_seed(0)
    odd = torch.randint(0, tokenizer.config.codebook_size, codes.shape, generator=generator)
    lengths = range(tokenizer.tokens_per_chunk + 1)
    for given in [odd, *(tokenizer.prefix(codes, length) for length in lengths)]:
        motion = tokenizer.decode(given, chunk.horizon, chunk.anchor, "big", relative=True)
        assert torch.isfinite(motion).all() and big.range.contains(motion).all()
        assert not big.start.leaves(motion[:, 0]).any()


def test_fitted_robots_are_not_touched(networked, big):
    chunk = arm_chunk(16, seed=7)
    known = (chunk.anchor, "arm", chunk.fps)
    before = networked.encode(chunk.actions, *known, mask=chunk.mask)
    grown = networked.with_embodiment("big", big, scaled_arm(512, seed=3))
    assert torch.equal(grown.encode(chunk.actions, *known, mask=chunk.mask), before)
    assert set(networked.embodiments) == {"arm", "wall"}


def test_networks_are_told_no_embodiment_for_an_added_robot(networked, big):
    grown = networked.with_embodiment("big", big, scaled_arm(512, seed=3))
    number = {
        name: grown.prepare(replace(arm_chunk(2), embodiment=name)) for name in ("arm", "big")
    }
    assert number["arm"].condition.embodiment.tolist() == [1, 1]
    assert number["big"].condition.embodiment.tolist() == [0, 0]


def test_an_added_robot_is_kept_in_the_artefact(one_arm, big, tmp_path):
    grown = one_arm.with_embodiment("big", big, scaled_arm(512, seed=3))
    grown.save_pretrained(tmp_path / "grown")
    loaded = ActionTokenizer.from_pretrained(tmp_path / "grown")
    assert loaded.embodiments == grown.embodiments and not loaded.embodiments["big"].fitted
    assert "big (added)" in (tmp_path / "grown" / "README.md").read_text()
    chunk = scaled_arm(8, seed=1)
    codes = [t.encode(chunk.actions, chunk.anchor, "big", mask=chunk.mask) for t in (grown, loaded)]
    assert torch.equal(*codes)


def test_what_does_not_fit_is_refused(one_arm, big):
    with pytest.raises(ValueError, match="knows an embodiment 'arm' already"):
        one_arm.with_embodiment("arm", big, scaled_arm(64, seed=3))
    wide = joint_space(ARM.width + 1)
    builder = StatisticsBuilder(wide)
    chunk = arm_chunk(64)
    more = [torch.cat([t, t[..., :1]], -1) for t in (chunk.actions, chunk.mask, chunk.anchor)]
    known = torch.cat([chunk.anchor_mask, chunk.anchor_mask[:, :1]], -1)
    broad = replace(chunk, actions=more[0], mask=more[1], anchor=more[2], anchor_mask=known)
    builder.update(broad)
    with pytest.raises(ValueError, match=f"has {ARM.width + 1} channels, but this tokenizer takes"):
        one_arm.with_embodiment("wide", Embodiment(wide, builder.build(), ARM_FPS), broad)
    with pytest.raises(ValueError, match=r"0 embodiments \(\[\]\) for a model fitted on 1"):
        replace(one_arm, embodiments={"big": replace(big, fitted=False)})
