"""Successes from the same starts: shares, and differences, with 95 % intervals.

An array of outcomes is bool [seeds, tasks, starts]. Starts are the same for all arms and seeds, so
that a resample draws starts of every task anew, for all seeds and both arms alike, and seeds beside
them: a difference is then one between pairs, and other seeds or starts could have been had.
"""

from __future__ import annotations

import numpy as np

from analysis.bootstrap import RESAMPLES, Estimate, interval


def share(solved: np.ndarray) -> Estimate:
    """Successes among attempts, every task alike, with its interval."""
    return difference(solved, np.zeros_like(solved))


def difference(one: np.ndarray, other: np.ndarray) -> Estimate:
    """How much more is solved by one than by the other, with its interval.

    Args:
        one: Of an arm.
        other: Of another, with the same seeds, tasks and starts.
    """
    pairs = one.astype(float) - other.astype(float)
    return interval(float(pairs.mean()), _replicates(pairs))


def _replicates(pairs: np.ndarray) -> np.ndarray:
    """[R] means over resampled seeds and starts."""
    seeds, tasks, starts = pairs.shape
    rng = np.random.default_rng(0)
    drawn = rng.integers(seeds, size=(RESAMPLES, seeds))
    by_seed = np.stack([np.bincount(row, minlength=seeds) for row in drawn]) / seeds
    chances = np.full(starts, 1 / starts)
    by_start = rng.multinomial(starts, chances, size=(RESAMPLES, tasks)) / starts
    return np.einsum("rs,rtn,stn->r", by_seed, by_start, pairs) / tasks
