"""The score: error relative to FAST at equal bits; and the cost relative to FAST at equal error.

FAST's points are its rows at several scales, of which only the Pareto front counts. At equal bits
means: its log-MSE interpolated linearly in bits between those points, inside their range only. A
tokenizer's score is the geometric mean of MSE / FAST's MSE over its prefixes in that range. At
equal error means the same lines read the other way: bits (or tokens) linear in log-MSE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.bootstrap import EpisodeBootstrap, Estimate, interval

MIN_PREFIXES = 2


@dataclass(frozen=True)
class RatePoint:
    """One row's bits and squared error, kept per window so that episodes can be resampled.

    Attributes:
        bits: [N] bits of every window.
        squared_error: [N] sum over a window's values.
        values: [N] number of values in a window.
    """

    bits: np.ndarray
    squared_error: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Score:
    """Attributes:
    estimate: Geometric mean of the ratios, with its interval.
    ratios: [P] ratio of each point, NaN outside FAST's range of bits.
    """

    estimate: Estimate
    ratios: np.ndarray

    @property
    def points(self) -> int:
        """How many points lie in FAST's range."""
        return int(np.isfinite(self.ratios).sum())


def pareto_front(bits: np.ndarray, mse: np.ndarray) -> np.ndarray:
    """Indices of the points that no other beats in both, by rising bits."""
    front: list[int] = []
    for index in np.lexsort((mse, bits)):
        if not front or mse[index] < mse[front[-1]]:
            front.append(int(index))
    return np.array(front, int)


def ratios_at_equal_bits(
    bits: np.ndarray, mse: np.ndarray, fast_bits: np.ndarray, fast_mse: np.ndarray
) -> np.ndarray:
    """[P] MSE over FAST's at the same bits; NaN outside the range of its Pareto front."""
    front = pareto_front(fast_bits, fast_mse)
    x, y = fast_bits[front], np.log(fast_mse[front])
    reference = np.interp(bits, x, y, left=np.nan, right=np.nan)
    return mse / np.exp(reference)


def ratios_at_equal_error(
    cost: np.ndarray, mse: np.ndarray, fast_cost: np.ndarray, fast_mse: np.ndarray
) -> np.ndarray:
    """[P] bits (or tokens) over FAST's at the same MSE; NaN outside its Pareto front's range."""
    front = pareto_front(fast_cost, fast_mse)[::-1]
    x, y = np.log(fast_mse[front]), fast_cost[front]
    return cost / np.interp(np.log(mse), x, y, left=np.nan, right=np.nan)


Ratios = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def compute(
    points: Sequence[RatePoint],
    fast: Sequence[RatePoint],
    bootstrap: EpisodeBootstrap,
    ratios_of: Ratios = ratios_at_equal_bits,
) -> Score | None:
    """Score points of one tokenizer against FAST's; None with fewer than two in its range."""
    if len(points) < MIN_PREFIXES or not fast:
        return None
    ratios = ratios_of(*totals(points), *totals(fast))
    if np.isfinite(ratios).sum() < MIN_PREFIXES:
        return None
    ours, theirs = _replicates(points, bootstrap), _replicates(fast, bootstrap)
    replicates = [
        _geometric_mean(ratios_of(*ours[:, :, r], *theirs[:, :, r])) for r in range(ours.shape[-1])
    ]
    return Score(interval(_geometric_mean(ratios), np.array(replicates)), ratios)


def totals(points: Sequence[RatePoint]) -> tuple[np.ndarray, np.ndarray]:
    """[P] bits and MSE of points, over all windows."""
    bits = np.array([p.bits.mean() for p in points])
    return bits, np.array([p.squared_error.sum() / p.values.sum() for p in points])


def _replicates(points: Sequence[RatePoint], bootstrap: EpisodeBootstrap) -> np.ndarray:
    """[2, P, R] bits and MSE under every resampling."""
    ones = np.ones(len(points[0].bits))
    bits = [bootstrap.replicates(p.bits, ones) for p in points]
    mse = [bootstrap.replicates(p.squared_error, p.values) for p in points]
    return np.array([bits, mse])


def _geometric_mean(ratios: np.ndarray) -> float:
    finite = ratios[np.isfinite(ratios)]
    return float(np.exp(np.log(finite).mean())) if len(finite) >= MIN_PREFIXES else np.nan
