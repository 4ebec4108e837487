"""The vision tower for pictures of known sizes, beside transformers' own."""

from __future__ import annotations

import pytest
import torch

from vla.vision import PicturePlan, PicturePlans, Segments, see

CPU = torch.device("cpu")

WINDOW = 4
"""Patches per side of a window, of the backbone for tests."""


@pytest.mark.parametrize(
    "grids",
    [
        [(1, 4, 4)],
        [(1, 4, 4)] * 3,
        [(1, 8, 12), (1, 8, 12)],
        [(1, 6, 6)],
        [(1, 4, 4), (1, 10, 6), (1, 2, 8)],
        [(2, 6, 4)],
    ],
    ids=["a window", "three", "whole windows", "cut windows", "all sizes", "two moments"],
)
@torch.no_grad()
def test_it_sees_what_the_tower_sees(policy, grids):
    visual = policy.model.vl_expert.model.visual
    assert visual.window_size // visual.patch_size == WINDOW
    patches = sum(t * h * w for t, h, w in grids)
    pixels = torch.randn(patches, 3 * 2 * 14**2, generator=torch.Generator().manual_seed(0))
    expected = visual(pixels, grid_thw=torch.tensor(grids))
    expected = getattr(expected, "pooler_output", expected)
    plan = PicturePlan.of(visual, grids, torch.device("cpu"))
    found = see(visual, pixels, plan)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


def test_plans_of_the_latest_sizes_are_kept(policy):
    visual, host = policy.model.vl_expert.model.visual, CPU
    plans = PicturePlans(capacity=2)
    small, wide, tall = (torch.tensor([[1, h, w]]) for h, w in ((4, 4), (4, 8), (8, 4)))
    first = plans.of(visual, small, host)
    assert plans.of(visual, wide, host) is not first and plans.of(visual, small, host) is first
    plans.of(visual, tall, host)
    assert plans.of(visual, small, host) is first and len(plans._plans) == 2


def test_a_plan_made_while_acting_serves_training(policy):
    visual, sizes = policy.model.vl_expert.model.visual, torch.tensor([[1, 4, 4]])
    with torch.inference_mode():
        plan = PicturePlans().of(visual, sizes, CPU)
    assert not plan.cos.is_inference() and not plan.order.is_inference()


def test_windows_of_one_size_need_no_padding():
    alike, unlike = (Segments.of(torch.tensor(names)) for names in ([0, 0, 1, 1], [0, 1, 1]))
    assert alike.index is None and alike.mask is None
    x = torch.arange(4.0)[:, None]
    assert alike.spread(x).shape == (2, 2, 1) and torch.equal(alike.gather(alike.spread(x)), x)
    assert unlike.mask is not None
    assert unlike.mask[:, 0, 0].tolist() == [[True, False], [True, True]]
    assert torch.equal(unlike.gather(unlike.spread(x[:3])), x[:3])
