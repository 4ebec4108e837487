"""In-painting on velocity fields that are known exactly: those of Gaussian data.

For A ~ N(0, S) the flow's exact field is (E[A | A_τ] - A_τ) / (1 - τ), with
E[A | A_τ] = τ S (τ² S + (1-τ)² I)⁻¹ A_τ, so that every step has a closed form.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch

from tests.vla.conftest import observe
from vla.flow import integrate
from vla.real_time_chunking import RealTimeGuidance, soft_mask

T, D, SCALE = 12, 2, 0.999
TIMES = torch.arange(T, dtype=torch.float64)
COVARIANCE = torch.exp(-0.5 * ((TIMES[:, None] - TIMES) / 4).square()) + 1e-4 * torch.eye(T)


@cache
def gain(time: float) -> torch.Tensor:
    """[T, T]: E[A | A_τ] is the gain times A_τ."""
    noise = (1 - time) ** 2 * torch.eye(T, dtype=torch.float64)
    return time * COVARIANCE @ torch.linalg.inv(time**2 * COVARIANCE + noise)


def exact(actions: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """The exact velocity of frames that vary slowly, channels by themselves."""
    at = float(time[0])
    return (gain(at) @ actions - actions) / (1 - at)


def sample(guidance: RealTimeGuidance | None, count: int = 400) -> torch.Tensor:
    """[count, T, D] from the same noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, T, D, generator=generator, dtype=torch.float64)
    return integrate(guidance(exact) if guidance else exact, noise, 40, SCALE)


def hard(delay: int) -> torch.Tensor:
    return (torch.arange(T) < delay).double()[:, None]


def test_the_mask_is_that_of_the_paper():
    """c = (H-s-i) / (H-s-d+1), and c (e^c - 1) / (e - 1)."""
    shares = [(6 - i) / (6 - 2 + 1) for i in range(2, 6)]
    between = [c * (math.exp(c) - 1) / (math.e - 1) for c in shares]
    expected = [1, 1, *between, 0, 0]
    np.testing.assert_allclose(soft_mask(8, 2, 6).numpy(), expected, rtol=1e-6)
    assert soft_mask(4, 4, 4).tolist() == [1, 1, 1, 1]
    assert soft_mask(4, 0, 0).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("time", [0.0, 0.05, 0.5, 0.9])
def test_a_step_is_the_formula_with_the_exact_gradient(time):
    generator = torch.Generator().manual_seed(1)
    actions, target = torch.randn(2, 3, T, D, generator=generator, dtype=torch.float64)
    weights = soft_mask(T, 2, 7).double()[:, None]
    guided = RealTimeGuidance(target, weights, 5.0)(exact)
    found = guided(actions, torch.full((3,), time, dtype=torch.float64))
    end = gain(time) @ actions
    pull = gain(time).T @ (weights * (target - end))
    spread = (1 - time) ** 2 / (time**2 + (1 - time) ** 2)
    strength = min(5.0, (1 - time) / (time * spread)) if time else 5.0
    expected = (end - actions) / (1 - time) + strength * pull
    torch.testing.assert_close(found, expected)


def test_without_weights_nothing_changes():
    free = sample(None, 5)
    guidance = RealTimeGuidance(torch.full((5, T, D), 9.0, dtype=torch.float64), 0 * hard(1))
    torch.testing.assert_close(sample(guidance, 5), free)


def test_committed_frames_are_met_and_the_others_follow_as_the_data_do():
    """What is not committed gets the mean that it has given the committed frames."""
    target = torch.zeros(1, T, D, dtype=torch.float64)
    target[:, :4] = torch.tensor([1.0, -1.5])
    free, guided = sample(None), sample(RealTimeGuidance(target, hard(4)))
    missed = [(s[:, :4] - target[:, :4]).abs().mean() for s in (free, guided)]
    assert missed[1] < 0.15 * missed[0]
    known, other = COVARIANCE[:4, :4], COVARIANCE[4:, :4]
    expected = other @ torch.linalg.solve(known, target[0, :4])
    near = slice(0, 3)
    off = [(s.mean(0)[4:] - expected)[near].abs().mean() for s in (free, guided)]
    assert off[0] > 0.6 and off[1] < 0.35 * off[0]
    assert guided[:, -1].std() > 0.7


def test_a_softer_mask_leaves_more_freedom():
    target = torch.zeros(1, T, D, dtype=torch.float64)
    soft = soft_mask(T, 2, 8).double()[:, None]
    firm, loose = (sample(RealTimeGuidance(target, w)) for w in (hard(8), soft))
    assert loose[:, 6].std() > 1.3 * firm[:, 6].std()


def test_a_policy_is_drawn_towards_frames_in_its_own_space(policy):
    """The network's gradient, through the cached prompt."""
    batch = policy.batch([policy.samples.to_act(observe("arm"), 8)])
    noise = torch.randn(batch.actions.shape, generator=torch.Generator().manual_seed(0))
    free = policy.model.sample_actions(batch, noise, 4)
    target = free + 0.5
    weights = soft_mask(8, 2, 5)[None, :, None] * batch.action_mask
    guidance = RealTimeGuidance(target, weights)
    guided = policy.model.sample_actions(batch, noise, 4, guide=guidance)
    plain = policy.model.sample_actions(batch, noise, 4, cached=False, guide=guidance)
    torch.testing.assert_close(guided, plain, atol=1e-4, rtol=1e-4)
    assert not guided.requires_grad and (guided[~batch.action_mask] == 0).all()
    missed = [((s - target).abs() * weights).sum() for s in (free, guided)]
    assert missed[1] < missed[0]
    assert all(p.grad is None for p in policy.model.parameters())
