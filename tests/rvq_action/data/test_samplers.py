"""Sampling: shares of groups, and draws that a resumed run repeats."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from rvq_action.data.samplers import WindowSampler, group_shares
from rvq_action.data.windows import Windows
from tests.rvq_action.data.test_windows import episode


def test_shares_follow_the_square_root():
    np.testing.assert_allclose(group_shares([100, 400, 900]), [1 / 6, 2 / 6, 3 / 6])
    np.testing.assert_allclose(group_shares([1, 3], power=1), [0.25, 0.75])


def test_what_a_cap_cuts_off_goes_to_the_others_in_proportion():
    shares = group_shares([1, 4, 10_000], cap=0.4)
    np.testing.assert_allclose(shares, [0.2, 0.4, 0.4])
    np.testing.assert_allclose(group_shares([1, 4, 10_000], cap=0.1), [1 / 3] * 3)
    shares = group_shares([1, 1, 1, 4900, 10_000], cap=0.3)
    np.testing.assert_allclose(shares, [0.4 / 3] * 3 + [0.3, 0.3])


def test_empty_groups_and_odd_caps_are_refused():
    for counts, cap in (([3, 0], 1.0), ([], 1.0), ([3], 0.0), ([3], 1.5)):
        with pytest.raises(ValueError, match="cap in"):
            group_shares(counts, cap=cap)


def sources() -> list[Windows]:
    pick = [episode(103, 0, task="pick"), episode(13, 1, task="place")]
    return [Windows(pick, 4), Windows([episode(28, 0, task="pick")], 4)]


def test_every_group_gets_its_share_and_no_window_repeats_early():
    sampler = WindowSampler(sources(), epoch_size=400)
    assert sampler.groups == ((0, "pick"), (0, "place"), (1, "pick"))
    draws = sampler.epoch(0)
    assert draws.shape == (400, 2)
    place = draws[(draws[:, 0] == 0) & (draws[:, 1] >= 100), 1]
    counts = np.array([(draws[:, 0] == 0).sum() - len(place), len(place), (draws[:, 0] == 1).sum()])
    assert np.abs(counts - 400 * sampler.shares).max() < 1
    times = np.unique(place, return_counts=True)[1]
    assert len(times) == 10 and np.ptp(times) <= 1


def test_draws_depend_on_seed_and_epoch_alone():
    first, again = (WindowSampler(sources(), seed=3) for _ in range(2))
    assert np.array_equal(first.epoch(5), again.epoch(5))
    assert not np.array_equal(first.epoch(5), first.epoch(6))
    assert not np.array_equal(first.epoch(5), WindowSampler(sources(), seed=4).epoch(5))
    assert len(first) == sum(map(len, sources()))


def test_batches_come_from_one_dataset_and_resume_where_they_stopped():
    sampler = WindowSampler(sources(), epoch_size=100)
    batches = list(sampler.batches(2, batch_size=16))
    drawn = np.concatenate(
        [np.stack((np.full(len(b.indices), b.source), b.indices), 1) for b in batches]
    )
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, sampler.epoch(2)))
    assert {b.source for b in batches} == {0, 1} and max(len(b.indices) for b in batches) == 16
    resumed = list(sampler.batches(2, batch_size=16, start=3))
    for expected, batch in zip(islice(batches, 3, None), resumed, strict=True):
        assert expected.source == batch.source and np.array_equal(expected.indices, batch.indices)
