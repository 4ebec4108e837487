"""How far the tokens move when the chunk moves a little, and what a wrong token costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from analysis.codecs import ABSENT, Codec
from analysis.evalset import Batch, EvalSet
from analysis.style import FAST, GRID, number_ticks

SIGMAS = (0.004, 0.006, 0.008)
WINDOWS = 512
"""At most this many windows, spread evenly, are disturbed."""


T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Disturbed(Generic[T]):
    """Something about windows that were disturbed: first the windows, then their token ids.

    Attributes:
        indices: [n] positions of the undisturbed windows among the scored ones.
        noisy: By sigma: the n windows plus noise.
        pairs: p windows, and the windows one frame later.
        pair_episode: [p] episode of each pair.
    """

    indices: np.ndarray
    noisy: dict[float, T]
    pairs: tuple[T, T]
    pair_episode: np.ndarray

    def map(self, function: Callable[[T], U]) -> Disturbed[U]:
        """The same disturbances with the function applied to each."""
        noisy = {sigma: function(value) for sigma, value in self.noisy.items()}
        first, second = self.pairs
        pairs = function(first), function(second)
        return Disturbed(self.indices, noisy, pairs, self.pair_episode)


def disturb(data: EvalSet, seed: int = 0) -> Disturbed[Batch]:
    """Some windows with noise, and some with their neighbours: the same for every tokenizer."""
    indices = _spread(len(data.batch), WINDOWS)
    batch = data.batch.take(indices)
    noisy = {sigma: data.noisy(batch, sigma, seed + i) for i, sigma in enumerate(SIGMAS)}
    episodes = data.windows.episode_ids
    first = np.flatnonzero(episodes[:-1] == episodes[1:])
    first = first[_spread(len(first), WINDOWS)]
    return Disturbed(indices, noisy, (data.load(first), data.load(first + 1)), episodes[first])


def _spread(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(int))


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[p] share of equal tokens, position by position, over the longer sequence's length."""
    length = max(first.shape[1], second.shape[1])
    a, b = _widened(first, length), _widened(second, length)
    longer = ((a != ABSENT) | (b != ABSENT)).sum(1)
    return ((a == b) & (a != ABSENT)).sum(1) / np.maximum(longer, 1)


def _widened(tokens: np.ndarray, length: int) -> np.ndarray:
    missing = ((0, 0), (0, length - tokens.shape[1]))
    return np.pad(tokens, missing, constant_values=ABSENT)


def edit_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[n] Levenshtein distances of sequences [n, A] and [n, B], -1 after the end of each.

    One row of the table at a time for all pairs; insertions along a row are a running minimum.
    """
    steps = np.arange(second.shape[1] + 1)
    row = np.broadcast_to(steps, (len(first), len(steps))).copy()
    lengths = (first != ABSENT).sum(1), (second != ABSENT).sum(1)
    distance = row[np.arange(len(first)), lengths[1]].copy()
    for position in range(first.shape[1]):
        replaced = row[:, :-1] + (first[:, position, None] != second)
        best = np.minimum(row[:, 1:] + 1, replaced)
        best = np.concatenate([np.full((len(first), 1), position + 1), best], axis=1)
        row = np.minimum.accumulate(best - steps, axis=1) + steps
        ended = lengths[0] == position + 1
        distance[ended] = row[ended, lengths[1][ended]]
    return distance


def word_error_rate(tokens: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """[n] edit distance between [n, L] and [n, L'] tokens over the number of tokens."""
    return edit_distance(tokens, noisy) / np.maximum((tokens != ABSENT).sum(1), 1)


@dataclass(frozen=True)
class FlipCost:
    """MSE after one token of each sequence became another id.

    Attributes:
        mse: [n] per window.
        level: [n] level of the flipped token.
        failed: [n] bool, the sequence no longer decodes.
    """

    mse: np.ndarray
    level: np.ndarray
    failed: np.ndarray


def flip(
    codec: Codec, tokens: np.ndarray, data: EvalSet, indices: np.ndarray, seed: int = 0
) -> FlipCost:
    """Replace a uniformly drawn token of each window `indices` by a uniformly drawn other id."""
    rng = np.random.default_rng(seed)
    flipped, batch = tokens.copy(), data.batch.take(indices)
    emitted = (tokens != ABSENT).sum(1)
    position = (rng.random(len(tokens)) * emitted).astype(int)
    size = codec.sizes(tokens.shape[1])[position]
    rows = np.arange(len(tokens))
    shift = 1 + (rng.random(len(tokens)) * (size - 1)).astype(int)
    flipped[rows, position] = (flipped[rows, position] + shift) % size
    decoded = codec.decode(flipped, batch)
    mse = ((decoded.scored - batch.scored) ** 2).mean(axis=(1, 2))
    return FlipCost(mse, codec.levels(tokens.shape[1])[position], decoded.failed)


def random_tokens(codec: Codec, tokens: np.ndarray, seed: int = 0) -> np.ndarray:
    """Uniformly drawn ids in the place of every emitted token of [n, L]."""
    rng = np.random.default_rng(seed)
    drawn = (rng.random(tokens.shape) * codec.sizes(tokens.shape[1])).astype(np.int64)
    return np.where(tokens == ABSENT, ABSENT, drawn)


@dataclass(frozen=True)
class NoiseCurve:
    """Word error rates of one tokenizer.

    Attributes:
        name: Name of the row.
        bits: Its bits per chunk.
        wer: [len(SIGMAS)] word error rate per sigma.
    """

    name: str
    bits: float
    wer: np.ndarray


def plot(curves: list[tuple[NoiseCurve, str]], ax) -> None:
    """Word error rate over sigma, each curve with its colour."""
    for curve, colour in curves:
        label = f"{curve.name} ({curve.bits:.0f} bits)"
        ax.plot(SIGMAS, curve.wer, "o-", color=colour, label=label, markersize=4)
    ax.set(xlabel="noise σ (scored units)", ylabel="word error rate", xticks=SIGMAS)
    ax.set_ylim(bottom=0)
    ax.grid(color=GRID)


@dataclass(frozen=True)
class FlipCurve:
    """What a wrong token costs, by the level it is of.

    Attributes:
        name: Name of the row.
        ratio: [K] MSE after one wrong token of a level over the MSE without.
    """

    name: str
    ratio: np.ndarray


def plot_flips(curves: list[tuple[FlipCurve, str]], reference: float, ax) -> None:
    """Bars by level, each tokenizer with its colour.

    Args:
        curves: The tokenizers.
        reference: The ratio of FAST, whose tokens have no levels, as a line across.
        ax: Axes.
    """
    width = 0.8 / max(len(curves), 1)
    for number, (curve, colour) in enumerate(curves):
        place = np.arange(len(curve.ratio)) + (number - (len(curves) - 1) / 2) * width
        ax.bar(place, curve.ratio, 0.9 * width, color=colour, label=curve.name)
    ax.axhline(reference, color=FAST, linewidth=1.4, label="FAST, any token")
    levels = range(max((len(curve.ratio) for curve, _ in curves), default=0))
    ax.set_yscale("log")
    ax.set_xticks(levels, [f"level {level + 1}" for level in levels])
    ax.set(ylabel="MSE with a wrong token / without")
    number_ticks(ax.yaxis)
    ax.grid(axis="y", color=GRID)
