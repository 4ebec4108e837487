"""Windows with made-up features: what there is to find is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from analysis.semantics import galleries
from analysis.semantics.seen import Seen, SemanticSet

APART, SIZE, LEVELS, WIDTH = 10, 6, 8, 5


def windows(rng, episodes: range, tokens_to: np.ndarray) -> tuple[Seen, np.ndarray]:
    """Windows whose pictures are a sum of what their [N, SIZE] tokens stand for."""
    episode = np.repeat(np.array(episodes), 40)
    start = np.tile(np.arange(40) * 4, len(episodes))
    tokens = rng.integers(0, LEVELS, (len(episode), SIZE))
    pictures = tokens_to[np.arange(SIZE), tokens].sum(1).astype(np.float32)
    first, last = np.split(pictures, 2, axis=1)
    tasks = np.where(tokens[:, 0] < 2, "rare", "common").astype(object)
    followed = start < start.max()
    following = first + last
    return Seen(None, episode, start, tasks, first, last, following, followed), tokens


@pytest.fixture
def found(rng) -> SimpleNamespace:
    """A set of 8 training and 4 held-out episodes, with the tokens that determine its pictures."""
    tokens_to = rng.normal(size=(SIZE, LEVELS, 2 * WIDTH))
    training, training_tokens = windows(rng, range(8), tokens_to)
    held_out, held_out_tokens = windows(rng, range(8, 12), tokens_to)
    drawn = [galleries.draw(held_out.episode, held_out.start, APART, s) for s in range(3)]
    data = SemanticSet(
        data=SimpleNamespace(horizon=APART),
        dataset=None,
        cameras=("front",),
        training=training,
        validation=training.episode >= 6,
        held_out=held_out,
        galleries=drawn,
    )
    return SimpleNamespace(data=data, training=training_tokens, held_out=held_out_tokens)
