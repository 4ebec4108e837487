"""As many tokens as a chunk needs: bounds that decoding keeps, and no token too many."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from rvq_action import ActionChunk, ActionLayout, ActionTokenizer, ToleranceWarning
from rvq_action.adaptive_length import adaptive
from rvq_action.adaptive_length.search import Search
from rvq_action.adaptive_length.tolerance import Tolerance, read_tolerance
from rvq_action.config import TokenizerConfig
from rvq_action.layout import Channel, DeltaRule, joint_space
from rvq_action.quantizer import SlotResidualVQ
from rvq_action.rotation import rot6d_to_matrix
from tests.rvq_action.robots import ARM, RECIPE, arm_chunk, fit, wall_chunk

LOOSE = {
    "arm": {"position": 0.4, "gripper": 0.3},
    "wall": {"position": 0.4, "rotation": 0.5, "gripper": 0.4},
}


def robot(chunk: ActionChunk) -> tuple:
    return chunk.anchor, chunk.embodiment, chunk.fps


def encode(tokenizer: ActionTokenizer, chunk: ActionChunk, **options) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ToleranceWarning)
        return tokenizer.encode(chunk.actions, *robot(chunk), mask=chunk.mask, **options)


def fidelity(tokenizer: ActionTokenizer, codes: torch.Tensor, chunk: ActionChunk):
    return tokenizer.fidelity(chunk.actions, codes, *robot(chunk), mask=chunk.mask)


def counts(codes: torch.Tensor) -> torch.Tensor:
    return (codes != -1).flatten(1).sum(-1)


def angle(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Between 6-D rotations, by the chord: |A - B|_F = 2·sqrt(2)·sin(angle / 2)."""
    chord = (rot6d_to_matrix(first) - rot6d_to_matrix(second)).flatten(-2).norm(dim=-1)
    return 2 * torch.asin((chord / math.sqrt(8)).clamp(max=1))


class TestTolerance:
    @pytest.mark.parametrize("tolerance", [0.3, 0.05])
    def test_the_error_stays_within_and_one_token_less_would_not(self, tokenizer, chunk, tolerance):
        codes = encode(tokenizer, chunk, tolerance=tolerance)
        lengths, error = counts(codes), fidelity(tokenizer, codes, chunk).mse
        everything = tokenizer.tokens_per_chunk
        assert ((error <= tolerance * 1.0001) | (lengths == everything)).all()
        assert len(lengths.unique()) > 1
        for length in range(everything):
            shorter = fidelity(tokenizer, encode(tokenizer, chunk, max_tokens=length), chunk).mse
            assert (shorter[lengths > length] > tolerance * 0.9999).all()

    def test_the_mean_error_is_that_of_what_decode_returns(self, tokenizer, chunk):
        codes = encode(tokenizer, chunk, tolerance=0.1)
        back = tokenizer.decode(codes, chunk.horizon, *robot(chunk))
        again = tokenizer.prepare(replace(chunk, actions=back, mask=chunk.mask))
        given = tokenizer.prepare(chunk)
        error = (again.x - given.x).square().flatten(1).sum(-1) / given.mask.flatten(1).sum(-1)
        found = fidelity(tokenizer, codes, chunk).mse
        torch.testing.assert_close(found, error, rtol=1e-3, atol=1e-5)

    def test_physical_bounds_hold_for_what_decode_returns(self, tokenizer, chunk):
        limits = LOOSE[chunk.embodiment]
        codes = encode(tokenizer, chunk, tolerance=limits)
        back = tokenizer.decode(codes, chunk.horizon, *robot(chunk))
        layout = tokenizer.layout(chunk.embodiment)
        reached = counts(codes) < tokenizer.tokens_per_chunk
        assert reached.float().mean() > 0.2
        for group, channels in layout.groups.items():
            real = chunk.mask[..., channels].all(-1)
            a, b = back[..., channels], chunk.actions[..., channels]
            is_rotation = layout.channels[channels[0]].unit == "rot6d"
            error = angle(a, b) if is_rotation else (a - b).abs().amax(-1)
            worst = torch.where(real, error, 0.0).amax(-1)
            assert (worst[reached] <= limits.get(group.split("/")[-1], math.inf) * 1.001).all()
            told = fidelity(tokenizer, codes, chunk).largest[group]
            torch.testing.assert_close(told, worst, rtol=1e-3, atol=1e-3)

    def test_a_bound_of_one_group_leaves_the_others_alone(self, closed_form):
        chunk = arm_chunk(24, seed=7)
        one = encode(closed_form, chunk, tolerance={"gripper": 0.3})
        both = encode(closed_form, chunk, tolerance={"gripper": 0.3, "position": 0.2})
        assert (counts(one) <= counts(both)).all() and counts(one).sum() < counts(both).sum()

    def test_relative_actions_are_held_against_relative_ones(self, closed_form):
        chunk = arm_chunk(8, seed=3)
        relative = chunk.actions - chunk.anchor[:, None] * torch.tensor([1, 1, 1, 0])
        codes = closed_form.encode(
            relative, embodiment="arm", relative=True, tolerance={"position": 0.5}
        )
        found = closed_form.fidelity(relative, codes, embodiment="arm", relative=True)
        assert (found.largest["joints/position"] <= 0.5).all() and found.tokens.max() < 18
        back = closed_form.decode(codes, 20, embodiment="arm", relative=True)
        worst = (back - relative)[..., :3].abs().flatten(1).amax(-1)
        torch.testing.assert_close(found.largest["joints/position"], worst)

    def test_what_cannot_be_reached_is_said_once_and_can_be_looked_up(self):
        tokenizer, chunk = fit({"arm": (ARM, arm_chunk(256))}, RECIPE), arm_chunk(8, seed=7)
        with pytest.warns(ToleranceWarning, match=r"8 of 8 chunks .* 5 tokens.*fidelity") as caught:
            codes = tokenizer.encode(chunk.actions, chunk.anchor, tolerance=1e-9, max_tokens=5)
        assert caught[0].filename == __file__ and (counts(codes) == 5).all()
        tokenizer.encode(chunk.actions, chunk.anchor, tolerance=1e-9)
        found = tokenizer.fidelity(chunk.actions, codes, chunk.anchor)
        assert not found.within(1e-9).any() and found.within(1e9).all()
        assert found.within({"position": 1e9}).all() and not found.within({"position": 1e-9}).any()

    def test_masked_entries_have_no_error(self, closed_form):
        chunk = arm_chunk(8, seed=7)
        nothing = replace(chunk, mask=torch.zeros_like(chunk.mask))
        codes = encode(closed_form, nothing, tolerance=1e-6)
        assert (counts(codes) == 0).all()
        found = fidelity(closed_form, codes, nothing)
        assert not found.mse.any() and not any(e.any() for e in found.largest.values())

    def test_arrays_give_arrays(self, closed_form):
        chunk = arm_chunk(4)
        robot = {"proprio": chunk.anchor.numpy(), "embodiment": "arm"}
        codes = closed_form.encode(chunk.actions.numpy(), **robot, max_tokens=9)
        found = closed_form.fidelity(chunk.actions.numpy(), codes, **robot)
        fields = (found.tokens, found.mse, *found.largest.values(), found.within(0.1))
        assert all(isinstance(field, np.ndarray) and field.shape == (4,) for field in fields)

    def test_codes_of_other_chunks_are_refused(self, closed_form):
        chunk = arm_chunk(4)
        codes = encode(closed_form, chunk)
        with pytest.raises(ValueError, match="codes of 3 chunks for 4 of"):
            fidelity(closed_form, codes[:3], chunk)


def two_arms(unit: str = "rad") -> ActionLayout:
    arms = [("left", "rad"), ("right", unit)]
    channels = [Channel(a, u, f"{a}/position", DeltaRule.SUBTRACT) for a, u in arms]
    return ActionLayout("two_arms", tuple(channels))


class TestGroups:
    def test_a_full_name_decides_over_a_quantity(self):
        layout = two_arms()
        read = read_tolerance({"left/position": 0.001, "position": 0.002}, layout)
        assert read == Tolerance(largest={"left/position": 0.001, "right/position": 0.002})

    def test_a_quantity_in_two_units_is_refused(self):
        layout = two_arms("m")
        with pytest.raises(ValueError, match="'position', whose channels do not share a unit"):
            read_tolerance({"position": 0.002}, layout)
        assert read_tolerance({"right/position": 1}, layout).largest == {"right/position": 1.0}


class TestTheLimit:
    def test_no_chunk_gets_more(self, tokenizer, chunk):
        for most in range(tokenizer.tokens_per_chunk + 1):
            codes = encode(tokenizer, chunk, max_tokens=most)
            assert (counts(codes) == most).all()
            emitted = tokenizer.vocabulary.in_order(codes)
            assert (emitted[:, :most] >= 0).all() and (emitted[:, most:] == -1).all()

    def test_the_best_code_says_more_than_the_prefix(self, closed_form, chunk):
        everything = encode(closed_form, chunk)
        best, prefix = [], []
        for most in range(1, closed_form.tokens_per_chunk + 1):
            codes = encode(closed_form, chunk, max_tokens=most)
            best.append(float(fidelity(closed_form, codes, chunk).mse.mean()))
            plain = closed_form.prefix(everything, most)
            prefix.append(float(fidelity(closed_form, plain, chunk).mse.mean()))
        assert all(b <= p * 1.01 for b, p in zip(best, prefix, strict=True))
        assert best[-1] < 0.99 * prefix[-1]

    def test_the_nearest_codes_are_the_prefix(self, tokenizer, chunk):
        everything = encode(tokenizer, chunk)
        for most in (0, 3, 11, 18):
            nearest = encode(tokenizer, chunk, max_tokens=most, beam=1)
            assert torch.equal(nearest, tokenizer.prefix(everything, most))

    def test_a_tolerance_may_need_fewer(self, closed_form, chunk):
        free = counts(encode(closed_form, chunk, tolerance=0.03))
        limited = counts(encode(closed_form, chunk, tolerance=0.03, max_tokens=7))
        assert torch.equal(limited, free.clamp(max=7)) and (free > 7).any() and (free < 7).any()


class TestRest:
    def test_a_chunk_that_stays_where_it_is_costs_nothing(self, tokenizer):
        chunk = arm_chunk(32, seed=7)
        still = chunk.anchor[:, None].expand_as(chunk.actions).clone()
        codes = encode(tokenizer, replace(chunk, actions=still), tolerance=1e-6)
        assert (counts(codes) == 0).all()
        back = tokenizer.decode(codes, 20, *robot(chunk))
        torch.testing.assert_close(back, still, atol=1e-5, rtol=0)

    def test_a_pose_stays_where_it_is(self, tokenizer):
        chunk = wall_chunk(32, seed=7)
        still = chunk.anchor[:, None].expand_as(chunk.actions).clone()
        codes = encode(tokenizer, replace(chunk, actions=still), tolerance={"rotation": 1e-3})
        assert (counts(codes) == 0).all()
        back = tokenizer.decode(codes, 10, *robot(chunk))
        torch.testing.assert_close(back, still, atol=1e-4, rtol=0)

    def test_velocities_are_zero_at_rest(self):
        channels = [Channel(f"v{i}", "rad/s", "arm/velocity", DeltaRule.RAW) for i in range(3)]
        layout = replace(joint_space(3), channels=tuple(channels))
        chunk = arm_chunk(256)
        moving = replace(
            chunk,
            actions=chunk.actions[..., :3] + 0.5,
            mask=chunk.mask[..., :3],
            anchor=chunk.anchor[..., :3],
            anchor_mask=chunk.anchor_mask[..., :3],
        )
        tokenizer = fit({"arm": (layout, moving)}, RECIPE)
        codes = tokenizer.encode(torch.zeros(2, 20, 3), tolerance=1e-6)
        assert (counts(codes) == 0).all()
        assert tokenizer.decode(codes, 20).abs().max() < 1e-5

    def test_what_is_unknown_is_as_usual(self, closed_form):
        chunk = arm_chunk(4)
        partly = chunk.anchor.clone()
        partly[:, 3] = float("nan")
        nothing = torch.full((4, 6, 3), -1)
        gripper = closed_form.decode(nothing, 20, partly, "arm")[..., 3]
        assert ((gripper > 0.1) & (gripper < 0.9)).all()
        joints = closed_form.decode(nothing, 20, partly, "arm")[..., :3]
        torch.testing.assert_close(joints, partly[:, None, :3].expand(-1, 20, -1))


class Steps:
    """Stands in for `Playback`: says by chunk and number of tokens whether that is enough."""

    def __init__(self, enough: torch.Tensor) -> None:
        self.enough = self.chunk = enough

    def judge(self, tolerance, codes, rows):
        return self.enough[rows, counts(codes)], torch.zeros(len(rows))

    def rows(self, rows):
        return Steps(self.enough[rows])


@pytest.mark.parametrize("at_a_time", [1, 3, 4096])
def test_the_first_length_that_is_enough_is_found_whatever_comes_after(monkeypatch, at_a_time):
    monkeypatch.setattr(adaptive, "PASS", at_a_time)
    enough = [[0, 0, 1, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]]
    quantizer = SlotResidualVQ(TokenizerConfig.tiny(num_slots=2, num_quantizers=2))
    latents = torch.randn(5, 2, quantizer.config.slot_width)
    place, searches = torch.arange(4).view(2, 2).T, [Search.of(quantizer, latents, 4)]
    steps = Steps(torch.tensor(enough).bool())
    codes, reached = adaptive._shortest(searches, steps, Tolerance(mse=1.0), 4, place)
    assert counts(codes).tolist() == [2, 0, 4, 4, 1]
    assert reached.tolist() == [True, True, True, False, True]


def test_semantic_codes_stay_what_they_are():
    tokenizer = fit({"arm": (ARM, arm_chunk(512))}, replace(RECIPE, semantic_slots=2))
    chunk = arm_chunk(24, seed=7)
    everything = encode(tokenizer, chunk)
    for most in (2, 9, tokenizer.tokens_per_chunk):
        codes = encode(tokenizer, chunk, max_tokens=most)
        assert torch.equal(codes[:, :2, 0], everything[:, :2, 0])
    plain, best = (fidelity(tokenizer, c, chunk).mse.mean() for c in (everything, codes))
    assert best < plain
