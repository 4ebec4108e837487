"""Figures over several fits that differ in their seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.bootstrap import EpisodeBootstrap
from analysis.rows import Row
from analysis.semantics import fits
from analysis.semantics.columns import R1, R1_CEILING
from analysis.semantics.fits import Fits
from analysis.semantics.retrieval import Retrieval
from analysis.table import cell, with_interval

QUERIES, GALLERIES, EPISODES = 24, 3, 6


def ranked(rank: np.ndarray) -> Retrieval:
    """A retrieval with these places of the own windows."""
    number = np.arange(QUERIES)
    nearest = np.repeat(number[:, None], 3, axis=1)
    return Retrieval(rank, number % EPISODES, number % GALLERIES, number, nearest, 8.0)


def lucky(seed: int) -> Retrieval:
    """One that finds the more, the larger its seed, and nothing in the same order."""
    found = np.random.default_rng(seed).permutation(QUERIES) < 6 * (seed + 1)
    return ranked(np.where(found, 1, 9))


def row_of(result: Fits) -> Row:
    row = Row("ceiling", "ceiling", "ceiling")
    fits.report(row, result)
    return row


def test_three_fits_have_the_seeds_0_1_and_2():
    seeds: list[int] = []

    def fit(seed: int) -> Retrieval:
        seeds.append(seed)
        return lucky(seed)

    Fits.of(fit)
    assert seeds == [0, 1, 2]


def test_figures_are_means_over_the_fits_and_their_spread_stands_beside_them():
    metrics = row_of(Fits.of(lucky)).metrics
    assert metrics["retrieval_r1"] == pytest.approx(0.5)
    assert metrics["retrieval_r1_fit_spread"] == pytest.approx(0.25)
    assert metrics["retrieval_r5_fit_spread"] == pytest.approx(0.25)
    assert metrics["retrieval_median_rank"] == 1


def test_the_spread_over_galleries_is_that_of_the_mean():
    result = Fits.of(lucky)
    gallery = result.each[0].gallery
    means = [result.hits(1)[gallery == number].mean() for number in range(GALLERIES)]
    assert row_of(result).metrics["retrieval_r1_spread"] == pytest.approx(np.std(means))


def test_intervals_resample_episodes_of_hits_that_were_averaged_before():
    result = Fits.of(lucky)
    expected = EpisodeBootstrap(result.each[0].episode).mean(result.hits(1))
    assert row_of(result).intervals["retrieval_r1"] == pytest.approx(tuple(expected)[1:])


def test_a_single_fit_has_no_spread():
    metrics = row_of(Fits.of(lucky, seeds=1)).metrics
    assert metrics["retrieval_r1"] == pytest.approx(0.25)
    assert "retrieval_r1_fit_spread" not in metrics


def test_a_share_of_the_ceiling_is_one_of_its_mean_over_the_fits():
    ceiling, codes = Fits.of(lucky), lucky(0)
    row = Row("mine", "mine", "rvq")
    fits.report_ceiling(row, codes, ceiling)
    expected = EpisodeBootstrap(codes.episode).ratio(codes.hits(1), ceiling.hits(1))
    assert row.metrics["retrieval_r1_of_ceiling"] == pytest.approx(0.25 / 0.5)
    assert row.intervals["retrieval_r1_of_ceiling"] == pytest.approx(tuple(expected)[1:])


def test_tables_show_the_spread_behind_the_mean():
    row = row_of(Fits.of(lucky))
    assert cell(row, R1) == "0.500 ± 0.250"
    low, high = row.intervals["retrieval_r1"]
    assert with_interval(row, R1) == f"0.500 ± 0.250 [{low:.3f}, {high:.3f}]"
    row.add("retrieval_r1_of_ceiling", 0.8)
    assert cell(row, R1_CEILING) == "80 %"
