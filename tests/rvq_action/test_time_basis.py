"""Frames <-> cosine components at any horizon, and what a masked frame is read as."""

from __future__ import annotations

import pytest
import torch

from rvq_action.time_basis import fill_masked, to_frames, to_frequencies

F = 16


@pytest.mark.parametrize("horizon", [2, 3, 7, F])
def test_a_chunk_of_at_most_f_frames_comes_back(horizon):
    x = torch.randn(4, horizon, 3)
    assert torch.allclose(to_frames(to_frequencies(x, F), horizon), x, atol=1e-5)


@pytest.mark.parametrize("horizon", range(2, 129, 9))
def test_components_come_back_from_any_grid_fine_enough(horizon):
    kept = min(horizon, F)
    coefficients = torch.zeros(4, F, 3)
    coefficients[:, :kept] = torch.randn(4, kept, 3)
    back = to_frequencies(to_frames(coefficients, horizon), F)
    assert torch.allclose(back, coefficients, atol=1e-4)


def test_a_slow_curve_has_the_same_components_at_every_rate():
    def curve(horizon: int) -> torch.Tensor:
        time = (torch.arange(horizon) + 0.5) / horizon
        return torch.cos(torch.pi * time * 3)[None, :, None]

    coarse, fine = to_frequencies(curve(F), F), to_frequencies(curve(128), F)
    assert torch.allclose(coarse, fine, atol=1e-4)


def test_a_masked_frame_holds_its_neighbour():
    x = torch.tensor([[9.0, 1.0, 2.0, 9.0, 4.0, 9.0]])[..., None]
    mask = torch.tensor([[False, True, True, False, True, False]])[..., None]
    assert fill_masked(x, mask).flatten().tolist() == [1.0, 1.0, 2.0, 2.0, 4.0, 4.0]


@pytest.mark.parametrize("garbage", [1e6, float("nan"), float("inf")])
def test_garbage_behind_the_mask_is_never_read(garbage):
    x, mask = torch.randn(2, 5, 3), torch.ones(2, 5, 3, dtype=torch.bool)
    mask[0, 3:], mask[:, :, 1] = False, False
    clean = fill_masked(x.where(mask, torch.zeros(())), mask)
    assert torch.equal(fill_masked(x.where(mask, torch.tensor(garbage)), mask), clean)
    assert not clean[:, :, 1].any()


def test_what_inference_cached_serves_training():
    with torch.inference_mode():
        to_frames(to_frequencies(torch.randn(1, 23, 2), 21), 23)
    x = torch.randn(1, 23, 2, requires_grad=True)
    to_frames(to_frequencies(x, 21), 23).sum().backward()
    assert x.grad is not None
