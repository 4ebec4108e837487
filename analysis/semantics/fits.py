"""Retrieval by several fits that differ in their seed alone: what one of them finds is partly luck.

METRIC is the mean over the fits and METRIC_fit_spread their standard deviation. Hits are averaged
over the fits, query by query, before episodes are resampled: intervals hold the luck of the
episodes, not that of the seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.bootstrap import EpisodeBootstrap
from analysis.rows import Row
from analysis.semantics import retrieval
from analysis.semantics.retrieval import Retrieval

SEEDS = 3


@dataclass(frozen=True)
class Fits:
    """What each fit found for the same Q queries."""

    each: tuple[Retrieval, ...]

    @classmethod
    def of(cls, fit: Callable[[int], Retrieval], seeds: int = SEEDS) -> Fits:
        """Fit with the seeds 0, 1, ..."""
        return cls(tuple(fit(seed) for seed in range(seeds)))

    def hits(self, within: int) -> np.ndarray:
        """[Q] share of the fits that have the own window among the first so many."""
        return np.mean([one.hits(within) for one in self.each], axis=0)

    def spread(self, within: int) -> float:
        """Standard deviation over the fits of the share of queries; NaN of a single fit."""
        if len(self.each) < 2:
            return np.nan
        return float(np.std([one.hits(within).mean() for one in self.each], ddof=1))

    def pooled(self) -> Retrieval:
        """All queries of all fits as one retrieval: its means are the means over the fits."""
        parts = [(one.rank, one.episode, one.gallery, one.query, one.nearest) for one in self.each]
        rank, episode, gallery, query, nearest = map(np.concatenate, zip(*parts, strict=True))
        return Retrieval(rank, episode, gallery, query, nearest, self.each[0].candidates)


def report(row: Row, result: Fits) -> None:
    """R@1, R@5 and median rank of all fits, and the spread over them."""
    retrieval.report(row, result.pooled(), None)
    for within in (1, 5):
        row.add(f"retrieval_r{within}_fit_spread", result.spread(within))


def report_floor(row: Row, floor: Fits) -> None:
    """R@1 of the probes that were fitted with shuffled images."""
    row.add("retrieval_r1_floor", float(floor.hits(1).mean()))
    row.add("retrieval_r1_floor_fit_spread", floor.spread(1))


def report_ceiling(row: Row, result: Retrieval, ceiling: Fits) -> None:
    """R@1 over the mean ceiling's, query by query."""
    bootstrap = EpisodeBootstrap(result.episode)
    row.add("retrieval_r1_of_ceiling", bootstrap.ratio(result.hits(1), ceiling.hits(1)))
