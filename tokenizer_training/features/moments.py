"""Which frames of a dataset a teacher looks at: those it gives features of or is fitted on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tokenizer_training.features.index import DatasetIndex


@dataclass(frozen=True)
class Moments:
    """Numbers of frames, counted from their episode's start, ascending.

    Attributes:
        index: Of the dataset: its lengths, stride and training episodes.
        most: Most moments that the teacher is fitted on, spread evenly over training episodes,
            whatever the stride; 0 for one that is not fitted.
    """

    index: DatasetIndex
    most: int = 0

    def featured(self, episode: int) -> np.ndarray:
        """[rows] frames of an episode that get features."""
        return np.arange(0, self.index.lengths[episode], self.index.stride)

    def fitted_on(self, episode: int) -> np.ndarray:
        """[M] frames of an episode that the teacher is fitted on."""
        return self._sample.get(episode, np.zeros(0, dtype=np.int64))

    def looked_at(self, episode: int) -> np.ndarray:
        """[moments] frames of an episode that are needed at all, each once."""
        return np.union1d(self.featured(episode), self.fitted_on(episode))

    def count(self, episodes: Iterable[int]) -> int:
        """Frames of several episodes that are looked at."""
        return sum(len(self.looked_at(episode)) for episode in episodes)

    @cached_property
    def _sample(self) -> dict[int, np.ndarray]:
        lengths = np.array([self.index.lengths[i] for i in self.index.train])
        ends = np.cumsum(lengths)
        count = min(self.most, ends[-1])
        chosen = np.unique(np.linspace(0, ends[-1] - 1, count).round().astype(int))
        places = np.searchsorted(ends, chosen, side="right")
        firsts = ends - lengths
        return {e: chosen[places == i] - firsts[i] for i, e in enumerate(self.index.train)}
