"""Galleries: windows at least one second apart among which each has to find its own pictures."""

from __future__ import annotations

import numpy as np

SIZE = 256


def draw(
    episode: np.ndarray, start: np.ndarray, apart: int, seed: int, size: int = SIZE
) -> np.ndarray:
    """One gallery: from a random frame of each episode on, a window every `apart` frames.

    Args:
        episode: [N] episode of every window.
        start: [N] first frame of every window within its episode.
        apart: Least distance in frames between two windows of an episode.
        seed: Of the first frames, and of the windows that stay where there are too many.
        size: Windows at most.

    Returns:
        [G] positions of the chosen windows, ascending.
    """
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for number in np.unique(episode):
        members = np.flatnonzero(episode == number)
        members = members[np.argsort(start[members])]
        free_from = start[members[0]] + rng.integers(apart)
        for window in members:
            if start[window] >= free_from:
                chosen.append(int(window))
                free_from = start[window] + apart
    return np.sort(rng.permutation(chosen)[:size])


def ranks(similarity: np.ndarray) -> np.ndarray:
    """[G] place of each query's own candidate, 1 = first; a tie counts against the query.

    Args:
        similarity: [G, G] of every query (row) to every candidate; its own is on the diagonal.
    """
    own = np.diagonal(similarity)[:, None]
    return (similarity >= own).sum(axis=1)


def chance_rank(size: int) -> float:
    """The expected median rank of a guess."""
    return (size + 1) / 2
