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
    assert near is not None and near.wer.tolist() == [0.4] * 3 and not near.interpolated
    between = noise.at_equal_bits(rivals, 150)
    assert between is not None and between.interpolated
    np.testing.assert_allclose(between.wer, 0.6)
    assert noise.at_equal_bits(rivals, 300) is None
    assert noise.at_equal_bits([], 100) is None


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
