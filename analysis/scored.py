"""The scored space: one normalisation for every tokenizer, whatever its own.

Per channel, from the fit data: middle m = (q99 + q01) / 2, half-width
s = max((q99 - q01) / 2, 0.05 (max - min) / 2), and x~ = clip((x - m) / s, ±1.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LIMIT = 1.5
QUANTILES = (0.01, 0.99)
RANGE_FLOOR = 0.05
"""The half-width is at least this share of half the range, for channels that hardly move."""


@dataclass(frozen=True)
class ScoredSpace:
    """An affine map per channel, in relative model space.

    Attributes:
        middle: [D] m, physical units.
        half_width: [D] s, physical units; 1 for a channel that is constant in the fit data.
        low: [D] smallest value of the fit data, physical units.
        high: [D] largest value of the fit data.
    """

    middle: np.ndarray
    half_width: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def fit(cls, relative: np.ndarray) -> ScoredSpace:
        """Fit on chunks [N, T, D] in relative model space, valid channels only.

        Raises:
            ValueError: There are no chunks.
        """
        if len(relative) == 0:
            raise ValueError("The scored space needs at least one training chunk.")
        values = relative.reshape(-1, relative.shape[-1]).astype(np.float64)
        q01, q99 = np.quantile(values, QUANTILES, axis=0)
        low, high = values.min(0), values.max(0)
        half_width = np.maximum((q99 - q01) / 2, RANGE_FLOOR * (high - low) / 2)
        half_width = np.where(half_width > 0, half_width, 1.0)
        return cls((q99 + q01) / 2, half_width, low, high)

    def transform(self, relative: np.ndarray) -> np.ndarray:
        """Physical units [..., D] -> scored units, not clipped."""
        return (relative - self.middle) / self.half_width

    def inverse(self, scored: np.ndarray) -> np.ndarray:
        """Scored units [..., D] -> physical units."""
        return scored * self.half_width + self.middle

    @staticmethod
    def clip(scored: np.ndarray) -> np.ndarray:
        """Clip to ±1.5."""
        return np.clip(scored, -LIMIT, LIMIT)

    def outside(self, relative: np.ndarray, tolerance: float = 1e-3) -> np.ndarray:
        """[N] bool: whether any value of a chunk [N, T, D] leaves the range of the fit data.

        Args:
            relative: [N, T, D] physical units.
            tolerance: Of the range, for rounding on the way.
        """
        slack = tolerance * (self.high - self.low) + 1e-6
        beyond = (relative < self.low - slack) | (relative > self.high + slack)
        return beyond.any(axis=(1, 2))
