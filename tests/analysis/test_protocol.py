"""The parts of the protocol, each against a case with a known answer."""

import numpy as np
import pytest

from analysis import score, smoothness
from analysis.bootstrap import EpisodeBootstrap, remark
from analysis.codecs import bits_per_window, padded
from analysis.columns import COLUMNS
from analysis.rows import Row
from analysis.score import (
    RatePoint,
    pareto_front,
    ratios_at_equal_bits,
    ratios_at_equal_error,
)
from analysis.scored import ScoredSpace
from analysis.stability import edit_distance, overlap, word_error_rate
from analysis.yardstick import Yardstick


def test_scored_space_maps_the_quantiles_to_one_and_clips(rng):
    chunks = rng.normal([3, -2], [0.1, 40], (4000, 5, 2))
    space = ScoredSpace.fit(chunks)
    scored = space.transform(chunks)
    np.testing.assert_allclose(np.quantile(scored, [0.01, 0.99], axis=(0, 1))[:, 0], [-1, 1])
    np.testing.assert_allclose(space.inverse(scored), chunks)
    assert np.abs(space.clip(scored * 9)).max() == 1.5


def test_a_channel_that_hardly_moves_is_scaled_by_a_share_of_its_range():
    chunks = np.zeros((100, 10, 2))
    chunks[0, 0, 0] = 2.0
    space = ScoredSpace.fit(chunks)
    np.testing.assert_allclose(space.half_width, [0.05 * 2 / 2, 1.0])


def test_a_decode_is_outside_when_one_value_leaves_the_fitted_range(rng):
    chunks = rng.uniform(-1, 1, (50, 4, 3))
    space = ScoredSpace.fit(chunks)
    assert not space.outside(chunks).any()
    chunks[7, 2, 1] = 1.2
    assert np.flatnonzero(space.outside(chunks)).tolist() == [7]


def test_the_yardstick_is_the_gaussian_rate_distortion_function(rng):
    chunks = rng.normal(0, 1, (60_000, 2, 2)) * [2.0, 0.5]
    yardstick = Yardstick.fit(chunks[:30_000], chunks[30_000:])
    variances = np.array([4, 4, 0.25, 0.25])
    # At 12 bits every component is coded: the distortion is the geometric mean over 4^(R / n).
    expected = np.exp(np.log(variances).mean()) * 4 ** (-12 / 4)
    assert yardstick.mse(12) == pytest.approx(expected, rel=0.03)
    assert yardstick.mse(0) == pytest.approx(variances.mean(), rel=0.03)
    # 2 bits go to the two large components alone.
    assert yardstick.mse(2) == pytest.approx((2 * 4 / 4 + 0.5) / 4, rel=0.03)


def test_bootstrap_resamples_episodes_not_windows():
    episodes = np.repeat([3, 5, 8, 9], 100)
    within = EpisodeBootstrap(episodes).mean(np.tile([0.0, 1.0], 200))
    between = EpisodeBootstrap(episodes).mean(np.repeat([0.0, 1.0, 0.0, 1.0], 100))
    assert within == (0.5, 0.5, 0.5)
    assert between.value == 0.5 and between.low == 0 and between.high == 1


@pytest.mark.parametrize("episodes", [1, 2, 3])
def test_so_few_episodes_have_no_interval(episodes, rng):
    """Of intervals over two episodes that promise 95 %, half hold the mean; over one, none."""
    values = rng.normal(size=60)
    bootstrap = EpisodeBootstrap(np.arange(60) % episodes)
    found = bootstrap.mean(values)
    assert found.value == pytest.approx(values.mean())
    assert np.isnan([found.low, found.high]).all()
    row = Row("a", "a", "rvq")
    row.add("mse", found)
    assert row.to_dict() == {"kind": "rvq", "mse": found.value}
    assert "need at least 4 held-out episodes" in remark(episodes)


def test_intervals_over_few_episodes_are_said_to_be_too_narrow():
    assert "resample only 8 held-out episodes" in remark(8)
    assert "resample only 4 held-out episodes" in remark(4)
    assert remark(10) is None


def test_bootstrap_quantile_agrees_with_the_sample():
    values = 0.1 + np.random.default_rng(0).exponential(1, 4000)
    edges = np.geomspace(1e-3, 1e2, 2001)
    counts = np.zeros((4000, 2000))
    counts[np.arange(4000), np.searchsorted(edges, values) - 1] = 1
    estimate = EpisodeBootstrap(np.arange(4000) // 100).quantile(counts, edges, 0.99)
    assert estimate.value == pytest.approx(np.quantile(values, 0.99), rel=0.02)
    assert estimate.low < estimate.value < estimate.high


def test_only_the_pareto_front_of_fast_counts():
    bits, mse = np.array([87.0, 74, 114, 212]), np.array([5e-3, 1.6e-3, 5e-4, 6e-4])
    assert pareto_front(bits, mse).tolist() == [1, 2]


def test_equal_bits_means_log_mse_linear_in_bits_inside_the_range_only():
    ratios = ratios_at_equal_bits(
        np.array([50.0, 100, 150, 250]),
        np.array([1.0, 1e-2, 1e-3, 1e-4]),
        np.array([100.0, 200]),
        np.array([1e-2, 1e-4]),
    )
    np.testing.assert_allclose(ratios, [np.nan, 1.0, 1.0, np.nan])


def test_equal_error_means_cost_linear_in_log_mse_inside_the_range_only():
    ratios = ratios_at_equal_error(
        np.array([50.0, 50, 300, 75]),
        np.array([1.0, 1e-2, 1e-4, 1e-3]),
        np.array([100.0, 200, 250]),
        np.array([1e-2, 1e-4, 2e-4]),
    )
    np.testing.assert_allclose(ratios, [np.nan, 0.5, 1.5, 0.5])


def rate_points(bits, mse, windows=40):
    shape = np.ones(windows)
    return [RatePoint(shape * b, shape * m * 10, shape * 10) for b, m in zip(bits, mse)]  # noqa: B905


def test_the_score_is_the_geometric_mean_over_prefixes_in_range():
    bootstrap = EpisodeBootstrap(np.arange(40) // 10)
    fast = rate_points([100, 200], [1e-2, 1e-4])
    ours = rate_points([50, 100, 150, 250], [1, 0.5e-2, 0.25e-3, 1e-4])
    scored = score.compute(ours, fast, bootstrap)
    assert scored.points == 2
    assert scored.estimate.value == pytest.approx(np.sqrt(0.5 * 0.25))
    assert scored.estimate.low == pytest.approx(scored.estimate.high)
    assert score.compute(ours[:2], fast, bootstrap) is None


def test_edit_distance_equals_the_textbook_table(rng):
    def textbook(a, b):
        table = np.add.outer(np.arange(len(a) + 1), np.arange(len(b) + 1))
        for i, x in enumerate(a, 1):
            for j, y in enumerate(b, 1):
                swap = table[i - 1, j - 1] + (x != y)
                table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, swap)
        return table[-1, -1]

    first = [rng.integers(0, 4, rng.integers(0, 9)).tolist() for _ in range(60)]
    second = [rng.integers(0, 4, rng.integers(0, 7)).tolist() for _ in range(60)]
    expected = [textbook(a, b) for a, b in zip(first, second, strict=True)]
    assert edit_distance(padded(first), padded(second)).tolist() == expected


def test_word_error_rate_and_overlap():
    tokens, moved = padded([[1, 2, 3, 4], [5, 6]]), padded([[1, 2, 4], [5, 6]])
    np.testing.assert_allclose(word_error_rate(tokens, moved), [0.25, 0])
    np.testing.assert_allclose(overlap(tokens, moved), [0.5, 1])


def test_bits_count_emitted_tokens_by_their_codebook():
    tokens = padded([[3, 1], [2]])
    np.testing.assert_allclose(bits_per_window(tokens, np.array([1024, 16])), [14, 10])


def test_smoothness_of_an_exact_and_of_a_shaking_reconstruction(rng):
    target = np.cumsum(rng.normal(0, 0.01, (20, 30, 3)), axis=1)
    exact = smoothness.compute(target, target, fps=30)
    assert exact.dct_l1.max() == 0 and np.allclose(exact.jerk, exact.true_jerk)
    shaking = smoothness.compute(target + 0.1 * (-1) ** np.arange(30)[None, :, None], target, 30)
    assert shaking.jerk.mean() > 3 * shaking.true_jerk.mean()
    assert shaking.spectrum.argmax() == 29 and shaking.hertz[-1] == pytest.approx(14.5)


def test_columns_name_metrics_once():
    names = [column.metric for column in COLUMNS]
    assert len(set(names)) == len(names)
