"""The figures of one run as sums per held-out episode: enough to resample episodes later.

Every figure is a ratio of two sums over windows. A row's JSON keeps both sums of every episode:

    retrieval_r1_first, retrieval_r1     own pictures found first, over queries; by the tokens of
                                         the first level alone, and by all tokens
    retrieval_r5_first, retrieval_r5     the same among the first five
    embedded_r1_first ...                the same where the probe reads the codes' vectors as well
    next_frame_skill                     change foretold, over change (squared), by all codes
    mse                                  squared error, over values, of all tokens
    noise_wer_SIGMA                      tokens moved by noise, over windows
    token_overlap                        tokens that stay until the next frame, over pairs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analysis.bootstrap import EpisodeBootstrap

DIGITS = 5
"""Significant digits kept: the files are read by people and kept in git."""


@dataclass(frozen=True)
class Ratio:
    """Two sums [E], one entry per episode.

    Attributes:
        of: Numerator.
        over: Denominator.
    """

    of: np.ndarray
    over: np.ndarray

    @property
    def value(self) -> float:
        """Over all episodes."""
        total = self.over.sum()
        return float(self.of.sum() / total) if total else float("nan")


@dataclass(frozen=True)
class Curve:
    """Reconstruction from prefixes, by rising bits.

    Attributes:
        bits: [P] mean bits per chunk.
        squared_error: [P, E] sums over each episode's windows, scored space.
        values: [E] number of values.
    """

    bits: np.ndarray
    squared_error: np.ndarray
    values: np.ndarray

    @property
    def mse(self) -> np.ndarray:
        """[P]."""
        return self.squared_error.sum(axis=1) / self.values.sum()

    def replicates(self, bootstrap: EpisodeBootstrap) -> np.ndarray:
        """[P, R] under every resampling of the episodes."""
        return np.array([bootstrap.replicates(s, self.values) for s in self.squared_error])


@dataclass(frozen=True)
class Measured:
    """Everything measured on one run.

    Attributes:
        by: What it was measured with; figures are compared only where this is equal.
        episodes: [E] the held-out episodes.
        first_tokens: Tokens of the first level.
        bits: Mean bits of a whole chunk.
        candidates: Windows per gallery, mean.
        ratios: By name, as above.
        curve: The reconstruction.
    """

    by: dict[str, Any]
    episodes: np.ndarray
    first_tokens: int
    bits: float
    candidates: float
    ratios: dict[str, Ratio]
    curve: Curve

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists, short enough to be kept."""
        return {
            "by": self.by,
            "episodes": self.episodes.tolist(),
            "first_tokens": self.first_tokens,
            "bits": _short(self.bits),
            "candidates": _short(self.candidates),
            "ratios": {n: [_shorts(r.of), _shorts(r.over)] for n, r in self.ratios.items()},
            "curve": {name: _shorts(values) for name, values in asdict(self.curve).items()},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Measured:
        """Inverse of `to_dict`."""
        ratios = {n: Ratio(*map(np.asarray, pair)) for n, pair in data["ratios"].items()}
        curve = Curve(**{name: np.asarray(values) for name, values in data["curve"].items()})
        arrays = {"episodes": np.asarray(data["episodes"]), "ratios": ratios, "curve": curve}
        return cls(**{**data, **arrays})


def per_episode(
    values: np.ndarray, episode_of: np.ndarray, episodes: np.ndarray | Sequence[int]
) -> np.ndarray:
    """[E] sums of [N] values over the windows of each episode.

    Args:
        values: [N].
        episode_of: [N] episode of each.
        episodes: [E] ascending; all that occur.
    """
    place = np.searchsorted(episodes, episode_of)
    return np.bincount(place, weights=values, minlength=len(episodes))


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _shorts(values: np.ndarray) -> list:
    return [_shorts(v) if np.ndim(v) else _short(v) for v in values]
