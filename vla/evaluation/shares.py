"""Averages over attempts, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

QUANTILE = NormalDist().inv_cdf(0.975)
RESAMPLES, TAILS = 1000, (0.025, 0.975)


@dataclass(frozen=True)
class Share:
    """Successes among attempts.

    Attributes:
        count: Attempts.
        solved: Successes.
        success: Their share.
        low: Lower end of its 95 % interval, by Wilson's formula.
        high: Upper end of it.
    """

    count: int
    solved: int
    success: float
    low: float
    high: float

    @classmethod
    def of(cls, solved: Sequence[bool]) -> Share:
        """Of at least one attempt."""
        count, hits = len(solved), sum(solved)
        share, z = hits / count, QUANTILE
        centre = share + z**2 / (2 * count)
        spread = z * (share * (1 - share) / count + (z / (2 * count)) ** 2) ** 0.5
        low, high = ((centre + side * spread) / (1 + z**2 / count) for side in (-1, 1))
        return cls(count, hits, share, max(0.0, low), min(1.0, high))


@dataclass(frozen=True)
class Average:
    """A mean of something that attempts have more or less of.

    Attributes:
        mean: The mean.
        low: Lower end of its 95 % interval, by resampling attempts.
        high: Upper end of it.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, groups: Sequence[Sequence[float]]) -> Average:
        """The mean over groups of the means within them, every group alike.

        Args:
            groups: Attempts at every task: the tasks are given, their attempts are drawn anew.
        """
        rng = np.random.default_rng(0)
        means = np.array([np.mean(group) for group in groups])
        drawn = np.mean([_resampled(np.asarray(group, float), rng) for group in groups], axis=0)
        low, high = np.quantile(drawn, TAILS)
        return cls(float(means.mean()), float(low), float(high))


def _resampled(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[R] means of values [N] that were drawn with replacement."""
    return values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
