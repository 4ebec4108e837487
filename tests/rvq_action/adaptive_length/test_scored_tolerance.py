"""A bound in scored space: kept as `analysis.scored` tells it, by as few tokens as possible."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.scored import ScoredSpace
from rvq_action import WALL_26, ActionChunk, ActionLayout, ActionTokenizer, ToleranceWarning
from rvq_action.adaptive_length.tolerance import Tolerance, read_tolerance
from rvq_action.layout import Channel, DeltaRule
from rvq_action.relative import to_relative
from tests.rvq_action.robots import ARM, RECIPE, arm_chunk, fit, wake_networks, wall_chunk

BOUND = 0.1
RARE, OFTEN, FARTHER = 128, 4, 8
"""Every so many chunks, in training and in tests, one moves so many times as far."""
LAYOUTS, CHUNKS = {"arm": ARM, "wall": WALL_26}, {"arm": arm_chunk, "wall": wall_chunk}


def heavy(name: str, batch: int, every: int, seed: int = 0) -> ActionChunk:
    """Chunks of a robot, one in so many moving so far that scored space clips it."""
    chunk, far = CHUNKS[name](batch, seed=seed), slice(None, None, every)
    moving = [c.delta is DeltaRule.SUBTRACT for c in LAYOUTS[name].channels]
    farther = torch.where(torch.tensor(moving), FARTHER, 1)
    anchor, actions = chunk.anchor[:, None], chunk.actions.clone()
    actions[far] = anchor[far] + (actions[far] - anchor[far]) * farther
    return replace(chunk, actions=actions)


@pytest.fixture(scope="module")
def training() -> dict[str, ActionChunk]:
    return {name: heavy(name, 1024, RARE) for name in CHUNKS}


@pytest.fixture(scope="module", params=[False, True], ids=["closed_form", "networked"])
def tokenizer(request, training) -> ActionTokenizer:
    robots = {name: (LAYOUTS[name], chunk) for name, chunk in training.items()}
    fitted = fit(robots, replace(RECIPE, slots=6))
    if request.param:
        wake_networks(fitted)
    return fitted


@pytest.fixture(params=CHUNKS)
def chunk(request) -> ActionChunk:
    """48 chunks that nothing was fitted on, one in four of which moves far."""
    return heavy(request.param, 48, OFTEN, seed=7)


def told(chunk: ActionChunk) -> dict:
    robot = {"proprio": chunk.anchor, "embodiment": chunk.embodiment, "fps": chunk.fps}
    return {**robot, "mask": chunk.mask}


def encode(tokenizer: ActionTokenizer, chunk: ActionChunk, **options) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ToleranceWarning)
        return tokenizer.encode(chunk.actions, **told(chunk), **options)


def fidelity(tokenizer: ActionTokenizer, chunk: ActionChunk, codes: Tensor):
    return tokenizer.fidelity(chunk.actions, codes, **told(chunk))


def counts(codes: Tensor) -> Tensor:
    return (codes != -1).flatten(1).sum(-1)


def valid(chunk: ActionChunk) -> np.ndarray:
    """Numbers of the channels that this robot has."""
    return chunk.mask[0, 0].nonzero().squeeze(-1).numpy()


def relative(chunk: ActionChunk, actions: Tensor) -> np.ndarray:
    moved = to_relative(actions, chunk.anchor, LAYOUTS[chunk.embodiment], chunk.mask)
    return moved[..., valid(chunk)].double().numpy()


def own_space(tokenizer: ActionTokenizer, chunk: ActionChunk) -> ScoredSpace:
    """The scored space with the m and s that the tokenizer keeps."""
    known, channels = tokenizer.embodiments[chunk.embodiment], valid(chunk)
    parts = (known.actions.middle, known.actions.scale, known.range.low, known.range.high)
    return ScoredSpace(*(part[channels].double().numpy() for part in parts))


def told_apart(
    space: ScoredSpace, tokenizer: ActionTokenizer, chunk: ActionChunk, codes: Tensor
) -> np.ndarray:
    """[B] mean squared error in scored space, as `rvq-analysis compare` tells it."""
    back = tokenizer.decode(codes, chunk.horizon, chunk.anchor, chunk.embodiment, chunk.fps)
    a, b = (space.clip(space.transform(relative(chunk, x))) for x in (back, chunk.actions))
    real = chunk.mask[..., valid(chunk)].numpy()
    return (np.square(a - b) * real).sum((1, 2)) / real.sum((1, 2))


class TestTheBound:
    def test_it_is_kept_and_one_token_less_would_not_keep_it(self, tokenizer, chunk):
        codes = encode(tokenizer, chunk, tolerance={"scored": BOUND})
        space, lengths = own_space(tokenizer, chunk), counts(codes).numpy()
        error, most = told_apart(space, tokenizer, chunk, codes), tokenizer.tokens_per_chunk
        assert ((error <= BOUND * 1.001) | (lengths == most)).all()
        assert (lengths < most).mean() > 0.5 and len(np.unique(lengths)) > 2
        for length in range(most):
            shorter = encode(tokenizer, chunk, max_tokens=length)
            error = told_apart(space, tokenizer, chunk, shorter)
            assert (error[lengths > length] > BOUND * 0.999).all()

    def test_a_scored_space_fitted_on_the_same_windows_says_nearly_the_same(
        self, tokenizer, chunk, training
    ):
        """Quantiles from a histogram move m and s: errors by the ratio of s, clipped ends by δ."""
        own = own_space(tokenizer, chunk)
        seen = training[chunk.embodiment]
        other = ScoredSpace.fit(relative(seen, seen.actions))
        ratio = own.half_width / other.half_width
        edge = np.abs(own.middle - other.middle) / other.half_width + 1.5 * np.abs(ratio - 1)
        assert np.abs(ratio - 1).max() < 0.01 and edge.max() < 0.02
        codes = encode(tokenizer, chunk, tolerance={"scored": BOUND})
        kept = counts(codes).numpy() < tokenizer.tokens_per_chunk
        error = np.sqrt(told_apart(other, tokenizer, chunk, codes)[kept])
        allowed = ratio.max() * np.sqrt(BOUND) + np.sqrt(np.square(edge).mean())
        assert (error <= allowed).all()

    def test_what_is_clipped_costs_no_tokens(self, tokenizer, chunk):
        scored = counts(encode(tokenizer, chunk, tolerance={"scored": BOUND}))
        model = counts(encode(tokenizer, chunk, tolerance=BOUND))
        assert (scored <= model).all()
        saved, far = scored < model, torch.arange(len(chunk)) % OFTEN == 0
        assert saved[far].float().mean() > 0.4 and not saved[~far].any()

    def test_it_holds_beside_bounds_of_groups(self, tokenizer, chunk):
        limits = {"scored": BOUND, "gripper": 0.3}
        alone = [counts(encode(tokenizer, chunk, tolerance={n: e})) for n, e in limits.items()]
        codes = encode(tokenizer, chunk, tolerance=limits)
        lengths, found = counts(codes), fidelity(tokenizer, chunk, codes)
        assert all((lengths >= length).all() and (lengths > length).any() for length in alone)
        kept = lengths < tokenizer.tokens_per_chunk
        gripper = found.largest["right_arm/gripper" if chunk.embodiment == "wall" else "gripper"]
        both = (found.scored <= BOUND) & (gripper <= limits["gripper"])
        assert kept.any() and both[kept].all() and torch.equal(found.within(limits), both)


class TestFidelity:
    def test_it_is_the_error_of_what_decode_returns(self, tokenizer, chunk):
        space = own_space(tokenizer, chunk)
        for codes in (encode(tokenizer, chunk), encode(tokenizer, chunk, max_tokens=2)):
            found = fidelity(tokenizer, chunk, codes)
            error = told_apart(space, tokenizer, chunk, codes)
            np.testing.assert_allclose(found.scored, error, rtol=2e-3, atol=1e-6)
            assert (found.scored <= found.mse * 1.0001).all()
            far = slice(None, None, OFTEN)
            assert found.scored[far].mean() < 0.8 * found.mse[far].mean()

    def test_it_says_whether_a_bound_is_kept(self, tokenizer, chunk):
        codes = encode(tokenizer, chunk, max_tokens=6)
        found = fidelity(tokenizer, chunk, codes)
        middle = float(found.scored.median())
        assert torch.equal(found.within({"scored": middle}), found.scored <= middle)
        arrays = tokenizer.fidelity(chunk.actions.numpy(), codes.numpy(), **told(chunk))
        assert isinstance(arrays.scored, np.ndarray) and arrays.scored.shape == (len(chunk),)
        assert (arrays.within({"scored": middle}) == found.within({"scored": middle}).numpy()).all()

    def test_padding_has_no_error(self, tokenizer, chunk):
        late = torch.arange(chunk.horizon)[:, None] >= chunk.horizon // 2
        padded = replace(chunk, mask=chunk.mask & ~late)
        codes = encode(tokenizer, padded, tolerance={"scored": BOUND})
        astray = replace(padded, actions=torch.where(late, 1e3, padded.actions))
        assert torch.equal(encode(tokenizer, astray, tolerance={"scored": BOUND}), codes)
        error = told_apart(own_space(tokenizer, chunk), tokenizer, padded, codes)
        for given in (padded, astray):
            scored = fidelity(tokenizer, given, codes).scored
            np.testing.assert_allclose(scored, error, rtol=2e-3, atol=1e-6)


def layout_with(group: str) -> ActionLayout:
    return ActionLayout("judge", (Channel("points", "m", group, DeltaRule.SUBTRACT),))


class TestTheName:
    def test_it_reads_beside_groups(self):
        read = read_tolerance({"scored": 1, "gripper": 0.3}, ARM)
        assert read == Tolerance(scored=1.0, largest={"gripper": 0.3})
        assert read_tolerance({"scored": 1e-3}, ARM) == Tolerance(scored=1e-3)
        assert read_tolerance(1e-3, ARM) == Tolerance(mse=1e-3)

    @pytest.mark.parametrize("group", ["scored", "arm/scored"])
    def test_a_group_of_that_name_is_not_hidden(self, group):
        with pytest.raises(ValueError, match=rf"'scored'.*layout 'judge'.*{group}.*another name"):
            read_tolerance({"scored": 1e-3}, layout_with(group))

    def test_such_a_group_can_be_named_in_full(self):
        read = read_tolerance({"arm/scored": 0.1}, layout_with("arm/scored"))
        assert read == Tolerance(largest={"arm/scored": 0.1})
