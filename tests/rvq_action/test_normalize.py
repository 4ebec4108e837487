"""Physical units <-> model space, and the range that a decoded chunk keeps to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from analysis.scored import ScoredSpace
from rvq_action import WALL_26, joint_space
from rvq_action.bounds.training_range import TrainingRange
from rvq_action.closed_form.transform import Windows, moving_channels
from rvq_action.normalize import KNEE, Normalizer, compress, expand, to_scored
from rvq_action.relative import to_relative
from rvq_action.rotation import axis_angle_to_matrix, matrix_to_rot6d, rot6d_to_matrix
from rvq_action.statistics import ChannelStatistics, StatisticsBuilder
from tests.rvq_action.robots import WALL_HORIZON, arm_chunk, embodiment_of, wall_chunk

RIGHT = [WALL_26.index(f"right_rot6d_{i}") for i in range(6)]


def statistics_of(values: torch.Tensor) -> ChannelStatistics:
    """Of [N, D] values that are relative to nothing."""
    from rvq_action.statistics import StreamingQuantiles

    streaming = StreamingQuantiles(values.shape[1])
    streaming.update(values.numpy(), torch.ones_like(values, dtype=torch.bool).numpy())
    return streaming.finish()


def test_companding_is_the_identity_inside_and_invertible_outside():
    x = torch.linspace(-60, 60, 5001)
    inside = x.abs() <= KNEE
    assert torch.equal(compress(x)[inside], x[inside])
    assert (compress(x).diff() > 0).all()
    assert torch.allclose(expand(compress(x)), x, rtol=2e-5, atol=1e-6)


def test_normalize_and_denormalize_are_inverse_with_heavy_tails():
    values = torch.distributions.StudentT(2.0).sample((4000, 3)) * torch.tensor([1e-3, 1.0, 50.0])
    normalizer = Normalizer(statistics_of(values))
    x = normalizer.normalize(values)
    assert x.abs().max() < 6
    error = (normalizer.denormalize(x) - values).abs() / values.abs().amax(0)
    assert error.max() < 1e-4


def test_scored_space_is_model_space_clipped():
    values = torch.distributions.StudentT(2.0).sample((4000, 3)) * torch.tensor([1e-3, 1.0, 50.0])
    normalizer = Normalizer(statistics_of(values))
    parts = (normalizer.middle, normalizer.scale, values.amin(0), values.amax(0))
    space = ScoredSpace(*(part.numpy() for part in parts))
    scored = to_scored(normalizer.normalize(values))
    expected = torch.from_numpy(space.clip(space.transform(values.numpy())))
    torch.testing.assert_close(scored, expected)
    assert (scored.abs() == 1.5).any(0).all()


def test_quantiles_land_on_one():
    values = torch.randn(20_000, 2) * torch.tensor([0.01, 3.0]) + 5
    x = Normalizer(statistics_of(values)).normalize(values)
    ends = torch.quantile(x, torch.tensor([0.01, 0.99]), dim=0)
    assert torch.allclose(ends, torch.tensor([[-1.0], [1.0]]).expand(2, 2), atol=5e-3)


def test_masked_entries_are_exactly_zero():
    values, mask = torch.randn(50, 2) + 3, torch.rand(50, 2) > 0.5
    x = Normalizer(statistics_of(values)).normalize(values.where(mask, torch.nan), mask)
    assert not x[~mask].any() and x.isfinite().all()


def test_a_constant_channel_is_zero_and_comes_back():
    values = torch.full((20, 1), 0.37)
    normalizer = Normalizer(statistics_of(values))
    assert not normalizer.normalize(values).any()
    assert torch.equal(normalizer.denormalize(torch.full((3, 1), 99.0)), values[:3])


@pytest.mark.parametrize("value", [0.0, 0.37, -5000.0])
def test_rounding_is_no_motion(value):
    noise = torch.randn(500, 1, generator=torch.Generator().manual_seed(0)).clamp(-1, 1).double()
    size = max(1.0, abs(value))
    values = (value + 3e-7 * size * noise).float()
    normalizer = Normalizer(statistics_of(values))
    assert normalizer.normalize(values).abs().max() <= 1e-6 * size
    decoded = normalizer.denormalize(torch.randn(9, 1))
    assert (decoded - value).abs().max() <= 1e-6 * size
    small = (value + 3e-5 * size * noise).float()
    assert Normalizer(statistics_of(small)).normalize(small).abs().max() > 0.9


def test_a_rotation_that_stays_within_a_chunk_moves_nothing():
    chunk = wall_chunk(300)
    actions = chunk.actions.clone()
    actions[..., RIGHT] = chunk.anchor[:, None, RIGHT]
    still = replace(chunk, actions=actions)
    known = embodiment_of(WALL_26, still)
    relative = to_relative(still.actions, still.anchor, WALL_26, still.mask)[..., RIGHT]
    assert relative.amax((0, 1)).sub(relative.amin((0, 1))).max() > 0
    given = known.to_model(still, 1, WALL_26.width, False)
    assert given.x[..., RIGHT].abs().max() < 1e-6
    assert moving_channels(Windows(given.x, given.mask)) == 4


def test_what_is_made_during_inference_serves_training():
    chunk = arm_chunk(20)
    known = embodiment_of(joint_space(4), chunk)
    with torch.inference_mode():
        assert known.actions and known.range
    x = torch.zeros(1, 20, 4, requires_grad=True)
    known.range.clamp(known.actions.denormalize(x)).sum().backward()
    assert x.grad is not None


def turns_of(kind: str, generator: torch.Generator) -> torch.Tensor:
    """[400, 10, 3] rotation vectors; two far apart have a mean that is none of them."""
    spread = torch.rand(400, 10, 3, generator=generator)
    if kind == "two":
        far = torch.tensor([0.0, 0.0, 3.0]) * (spread[:, :1, :1] > 0.5)
        return far + 0.1 * spread
    return {"narrow": 0.2, "medium": 1.0, "wide": 3.0}[kind] * (spread - 0.25)


@pytest.mark.parametrize("kind", ["narrow", "medium", "wide", "two"])
def test_rotations_stay_rotations_inside_their_range(kind):
    generator = torch.Generator().manual_seed(3)
    turns = turns_of(kind, generator)
    chunk = wall_chunk(400, WALL_HORIZON)
    chunk.actions[..., RIGHT] = matrix_to_rot6d(axis_angle_to_matrix(turns))
    chunk.anchor[:, RIGHT] = torch.tensor([1.0, 0, 0, 0, 1, 0])
    builder = StatisticsBuilder(WALL_26)
    builder.update(chunk)
    inside = TrainingRange(builder.build().actions, WALL_26)
    wild = torch.randn(300, 10, 26, generator=generator) * 2
    clamped = inside.clamp(wild)
    assert inside.contains(clamped).all()
    block = clamped[..., RIGHT]
    assert torch.allclose(matrix_to_rot6d(rot6d_to_matrix(block)), block, atol=1e-5)
    real = to_relative(chunk.actions, chunk.anchor, WALL_26, chunk.mask)
    assert torch.allclose(inside.clamp(real), real, atol=1e-5)
