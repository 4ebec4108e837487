"""The loss terms: zero at equality, blind to masked entries, and what they say they measure."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rvq_action.layout import WALL_26, ActionLayout, joint_space
from rvq_action.normalize import Normalizer
from rvq_action.rotation import axis_angle_to_matrix, matrix_to_rot6d
from rvq_action.statistics import ChannelStatistics
from tokenizer_training import losses
from tokenizer_training.losses import LossWeights


def plain_normalizer(width: int) -> Normalizer:
    """Model space that equals physical space."""
    ones, zeros = [1.0] * width, [0.0] * width
    low = [-1.0] * width
    return Normalizer(ChannelStatistics([1] * width, low, ones, zeros, ones, low, ones))


def terms(prediction: Tensor, target: Tensor, mask: Tensor, layout: ActionLayout) -> dict:
    """Every term that compares chunks."""
    normalizer = plain_normalizer(layout.width)
    return {
        "reconstruction": losses.reconstruction(prediction, target, mask, layout),
        "rotation": losses.rotation(prediction, target, mask, layout, normalizer),
        "dct": losses.dct(prediction, target, mask),
        "smoothness": losses.smoothness(prediction, target, mask),
    }


@pytest.fixture
def chunks() -> tuple[Tensor, Tensor, Tensor]:
    """Prediction and target [3, 8, 26] with tails of 8, 5 and 1 frames and an absent arm."""
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.rand(2, 3, 8, 26, generator=generator) - 0.5
    mask = torch.arange(8)[None, :, None] < torch.tensor([8, 5, 1])[:, None, None]
    mask = mask & (torch.arange(26) >= 10)
    return prediction, target, mask


def test_equal_chunks_cost_nothing(chunks):
    _, target, mask = chunks
    assert all(abs(term) < 1e-3 for term in terms(target, target, mask, WALL_26).values())


def test_masked_entries_never_matter(chunks):
    prediction, target, mask = chunks
    before = terms(prediction, target, mask, WALL_26)
    noise = torch.randn_like(prediction) * 100
    after = terms(
        torch.where(mask, prediction, noise), torch.where(mask, target, -noise), mask, WALL_26
    )
    assert before == {name: pytest.approx(value.item()) for name, value in after.items()}


def test_every_term_reaches_the_prediction(chunks):
    prediction, target, mask = chunks
    for name in terms(*chunks, WALL_26):
        leaf = prediction.clone().requires_grad_()
        terms(leaf, target, mask, WALL_26)[name].backward()
        assert leaf.grad.isfinite().all(), name
        assert leaf.grad[mask].any(), name
        assert not leaf.grad[~mask].any(), name


def test_gradients_stay_finite_at_equality_and_with_nothing_real(chunks):
    _, target, mask = chunks
    for real in (mask, torch.zeros_like(mask)):
        leaf = target.clone().requires_grad_()
        torch.stack(list(terms(leaf, target, real, WALL_26).values())).sum().backward()
        assert leaf.grad.isfinite().all()


def test_reconstruction_weighs_groups_alike():
    """Six numbers of a rotation count no more than the one of a gripper."""
    mask = torch.zeros(1, 4, 26, dtype=torch.bool)
    mask[..., 13:20] = True
    prediction = torch.zeros(1, 4, 26)
    prediction[..., 19] = 3.0
    loss = losses.reconstruction(prediction, torch.zeros_like(prediction), mask, WALL_26)
    assert loss == pytest.approx(1.5)


def test_rotation_is_the_angle_in_radians():
    layout = WALL_26
    prediction, target = torch.zeros(2, 1, 2, 26)
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.3, 0.0]))
    prediction[..., 13:19], target[..., 13:19] = (
        matrix_to_rot6d(turn),
        matrix_to_rot6d(torch.eye(3)),
    )
    mask = torch.zeros_like(target, dtype=torch.bool)
    mask[..., 13:19] = True
    loss = losses.rotation(prediction, target, mask, layout, plain_normalizer(26))
    assert loss == pytest.approx(0.3, abs=1e-4)


def test_a_layout_without_rotations_has_no_rotation_loss():
    chunk = torch.rand(2, 5, 3)
    mask = torch.ones_like(chunk, dtype=torch.bool)
    loss = losses.rotation(chunk, 1 - chunk, mask, joint_space(3), plain_normalizer(3))
    assert loss == 0


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_dct_obeys_parseval(frames):
    """A wave of one frequency has one coefficient: the root of the energy of its valid frames."""
    time = torch.arange(8)
    wave = torch.cos(math.pi * (min(2, frames - 1)) * (time + 0.5) / frames)
    mask = (time < frames)[None, :, None]
    energy = wave[:frames].square().sum().sqrt()
    loss = losses.dct(wave[None, :, None], torch.zeros(1, 8, 1), mask)
    assert loss == pytest.approx(energy.item() / frames, abs=1e-5)


def test_dct_of_a_chunk_is_that_of_its_series_one_by_one(chunks):
    prediction, target, mask = chunks
    total, count = 0.0, 0
    for b, frames in enumerate((8, 5, 1)):
        for d in range(10, 26):
            series = (prediction - target)[b : b + 1, :frames, d : d + 1]
            real = torch.ones_like(series, dtype=torch.bool)
            total += losses.dct(series, torch.zeros_like(series), real).item() * frames
            count += frames
    assert losses.dct(prediction, target, mask).item() == pytest.approx(total / count, rel=1e-4)


def test_dct_leaves_out_series_with_holes():
    prediction, target = torch.ones(1, 4, 2), torch.zeros(1, 4, 2)
    mask = torch.ones(1, 4, 2, dtype=torch.bool)
    mask[0, 1, 0] = False
    alone = losses.dct(prediction[..., 1:], target[..., 1:], mask[..., 1:])
    assert losses.dct(prediction, target, mask) == alone


def test_smoothness_does_not_see_an_offset(chunks):
    _, target, mask = chunks
    assert losses.smoothness(target + 1, target, mask) == pytest.approx(0, abs=1e-6)
    ramp = torch.arange(8.0)[None, :, None].expand_as(target)
    assert losses.smoothness(target + 0.5 * ramp, target, mask) == pytest.approx(0.5, rel=1e-4)


def test_names_of_terms_and_weights_must_agree():
    one = torch.ones(())
    weights = LossWeights(reconstruction=2.0, rotation=0, dct=0, smoothness=0, commitment=0.5)
    assert weights.total({"reconstruction": one, "commitment": one}) == 2.5
    with pytest.raises(ValueError, match="no weight for \\['reconstructoin'\\]"):
        weights.total({"reconstructoin": one, "reconstruction": one, "commitment": one})
    with pytest.raises(ValueError, match="no term for \\['commitment'\\]"):
        weights.total({"reconstruction": one})
    with pytest.raises(ValueError, match="dct is negative"):
        LossWeights(dct=-1.0)
