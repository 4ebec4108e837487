"""What a tokenizer is held against: FAST's stability and the plain tokenizer's error."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.rows import Row
from analysis.score import RatePoint
from analysis.semantics import noise, price
from analysis.semantics.codes import View
from analysis.semantics.noise import Steadiness
from analysis.semantics.price import PrefixErrors


def steady(bits: float, rate: float) -> Steadiness:
    nothing = np.zeros(4)
    return Steadiness(bits, np.full((3, 4), rate), nothing, nothing, nothing)


def test_equal_bits_are_within_fifteen_percent_else_between_two_scales():
    rivals = [steady(200, 0.8), steady(100, 0.4)]
    near = noise.at_equal_bits(rivals, 110)
    assert near is not None and near.wer.tolist() == [[0.4] * 4] * 3 and not near.interpolated
    between = noise.at_equal_bits(rivals, 150)
    assert between is not None and between.interpolated
    np.testing.assert_allclose(between.wer, 0.6)
    assert noise.at_equal_bits(rivals, 300) is None
    assert noise.at_equal_bits([], 100) is None


def per_window(bits: float, wer: np.ndarray, episode: np.ndarray) -> Steadiness:
    return Steadiness(bits, np.tile(wer, (3, 1)), episode, wer, episode)


def test_the_difference_to_fast_is_paired_window_by_window(rng):
    episode = np.repeat(np.arange(6), 10)
    fast = rng.uniform(0.1, 0.2, 60) + 0.1 * episode
    ours = fast + np.where(np.arange(60) % 2 == 0, 0.02, 0.04)
    row, rival = Row("mine", "mine", "rvq"), per_window(100, fast, episode)
    noise.report(row, per_window(100, ours, episode), noise.at_equal_bits([rival], 100))
    low, high = row.intervals["noise_wer_0.006"]
    assert high - low > 0.1
    # Every episode lies .03 above FAST, however much the episodes differ: so does every resampling.
    assert row.metrics["noise_wer_0.006_over_fast"] == pytest.approx(0.03)
    assert row.intervals["noise_wer_0.006_over_fast"] == pytest.approx((0.03, 0.03))


def test_between_two_scales_of_fast_every_window_is_interpolated():
    episode = np.repeat(np.arange(4), 2)
    below, above = np.linspace(0.1, 0.8, 8), np.linspace(0.5, 0.9, 8)
    rivals = [per_window(200, above, episode), per_window(100, below, episode)]
    row = Row("mine", "mine", "rvq")
    between = noise.at_equal_bits(rivals, 125)
    noise.report(row, per_window(125, 0.75 * below + 0.25 * above, episode), between)
    assert row.metrics["noise_wer_0.004_over_fast"] == pytest.approx(0, abs=1e-12)
    assert row.intervals["noise_wer_0.004_over_fast"] == pytest.approx((0, 0), abs=1e-12)
    assert row.metrics["fast_noise_wer_0.004"] == pytest.approx(row.metrics["noise_wer_0.004"])


def test_where_fast_has_no_such_bits_nothing_is_held_against_it():
    row, episode = Row("mine", "mine", "rvq"), np.arange(4)
    noise.report(row, per_window(20, np.ones(4), episode), noise.at_equal_bits([], 20))
    assert "noise_wer_0.006" in row.metrics
    assert not [name for name in row.metrics if "fast" in name]


def first(tokens: int, length: int = 5) -> View:
    return View("", "", np.arange(length) < tokens)


def errors(mse: dict[int, float]) -> PrefixErrors:
    values = np.full(8, 10.0)
    points = [RatePoint(np.full(8, 10.0 * n), values * e, values) for n, e in mse.items()]
    return PrefixErrors(list(mse), points, np.arange(8) // 2)


def test_the_price_is_the_error_over_the_plain_one_at_as_many_bits():
    plain = errors({1: 1e-1, 3: 1e-3})
    row = Row("mine", "mine", "rvq")
    price.report(row, first(2), errors({2: 2e-2}), plain)
    assert row.metrics["mse"] == pytest.approx(2e-2)
    assert row.metrics["mse_times_plain"] == pytest.approx(2.0)


def test_more_tokens_than_the_plain_one_are_judged_at_all_of_its_bits():
    row = Row("mine", "mine", "rvq")
    price.report(row, first(4), errors({2: 1e-2, 4: 1e-4}), errors({1: 1e-1, 3: 1e-3}))
    assert row.metrics["mse_times_plain"] == pytest.approx(1.0)
    assert row.metrics["mse_compared_at_bits"] == 30


def test_below_the_plain_ones_first_token_there_is_no_price():
    row = Row("mine", "mine", "rvq")
    price.report(row, first(1), errors({1: 1e-1}), errors({2: 1e-1, 3: 1e-3}))
    assert "mse" in row.metrics and "mse_times_plain" not in row.metrics


def test_what_is_no_prefix_has_no_error():
    row = Row("mine", "mine", "rvq")
    price.report(row, View("", "", np.array([True, False, True])), errors({1: 1.0}), None)
    assert not row.metrics
