"""The visual terms and masked modelling: what they are at their ends, and what counts in them."""

from __future__ import annotations

import math

import pytest
import torch

from tokenizer_training import losses

ONE = torch.tensor(1.0)
APART = torch.zeros(64, 64, dtype=torch.bool)


@pytest.fixture
def points() -> torch.Tensor:
    return torch.randn(64, 16, generator=torch.Generator().manual_seed(0))


def test_infonce_is_log_b_where_nothing_is_told_apart(points):
    same = points[:1].expand_as(points)
    for ours, theirs in ((same, points), (points, same)):
        one_way = losses.alignment(ours, theirs, torch.tensor(1e6), APART)
        assert one_way.item() == pytest.approx(math.log(64), abs=1e-4)


def test_infonce_vanishes_where_everything_matches(points):
    assert losses.alignment(points, 3 * points, torch.tensor(0.05), APART).item() < 1e-3
    mismatched = losses.alignment(points, points.roll(1, 0), torch.tensor(0.05), APART)
    assert mismatched.item() > math.log(64)


def test_infonce_is_symmetric(points):
    others = points.flip(1)
    both = [losses.alignment(*pair, ONE, APART) for pair in ((points, others), (others, points))]
    torch.testing.assert_close(*both)


def test_near_pairs_are_no_negatives(points):
    """Every point comes twice: the twin costs log 2, unless it is said to be near."""
    twice = points[:32].repeat(2, 1)
    near = torch.eye(32, dtype=torch.bool).repeat(2, 2)
    cold = torch.tensor(0.05)
    assert losses.alignment(twice, twice, cold, APART).item() == pytest.approx(
        math.log(2), abs=0.01
    )
    assert losses.alignment(twice, twice, cold, near).item() < 0.01


def test_no_pictures_cost_nothing():
    none = torch.zeros(0, 4, requires_grad=True)
    term = losses.alignment(none, none, ONE, torch.zeros(0, 0, dtype=torch.bool))
    assert term.item() == 0


def test_unknown_frames_do_not_count_in_the_next_frame():
    prediction, target = torch.zeros(3, 4), torch.tensor([[1.0], [5.0], [3.0]]).expand(3, 4)
    known = torch.tensor([True, False, True])
    assert losses.next_frame(prediction, target, known).item() == 2.0


def test_masked_modelling_is_the_cross_entropy_of_what_is_guessed():
    codes = torch.tensor([0, 1])
    sure = 50 * torch.eye(4)[codes]
    assert losses.masked_modelling(sure, codes).item() < 1e-3
    assert losses.masked_modelling(sure, codes.flip(0)).item() > 10
    assert losses.masked_modelling(torch.zeros(2, 4), codes).item() == pytest.approx(math.log(4))
    assert losses.masked_modelling(torch.zeros(0, 4), codes[:0]).item() == 0
