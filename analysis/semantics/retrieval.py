"""Retrieval: does a chunk's code find the pictures at its first and last frame?

The probe predicts the teacher's features of both frames. Candidates are ranked by the cosine
between prediction and feature after whitening: features are centred and turned onto the principal
axes of the training windows' features, each axis divided by the root of its variance plus 1 % of
the largest. On validation episodes that ranking found more than the plain cosine and the cosine of
standardised features; metrics learned from the probe's residuals fit those episodes by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.bootstrap import EpisodeBootstrap, Estimate, interval
from analysis.rows import Row
from analysis.semantics import galleries, probe
from analysis.semantics.probe import Inputs
from analysis.semantics.seen import SemanticSet
from analysis.style import GRID, MUTED, TEXT

WHITENING_FLOOR = 0.01
SHOWN = 3


@dataclass(frozen=True)
class Whitening:
    """Centre and turn features [N, F] so that all axes count about alike."""

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Whitening:
        """From features [N, F] of training windows."""
        mean = features.mean(0)
        values, vectors = np.linalg.eigh(np.cov((features - mean).T, bias=True))
        values = np.maximum(values, 0)
        floor = max(WHITENING_FLOOR * values.max(), 1e-12)
        return cls(mean, (vectors / np.sqrt(values + floor)).astype(np.float32))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) @ self.axes


def cosines(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """[Q, C] cosines between rows; 0 where one is nothing."""
    units = [
        part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
        for part in (queries, candidates)
    ]
    return units[0] @ units[1].T


@dataclass(frozen=True)
class Retrieval:
    """Every query of every gallery; Q queries in all.

    Attributes:
        rank: [Q] place of the query's own window, 1 = found.
        episode: [Q] episode of each query.
        gallery: [Q] number of its gallery.
        query: [Q] position of each among the held-out windows.
        nearest: [Q, 3] positions of the windows ranked first.
        candidates: Windows per gallery, mean.
    """

    rank: np.ndarray
    episode: np.ndarray
    gallery: np.ndarray
    query: np.ndarray
    nearest: np.ndarray
    candidates: float

    def hits(self, within: int) -> np.ndarray:
        """[Q] 1 where the own window is among the first so many."""
        return (self.rank <= within).astype(float)


def compute(inputs: Inputs, data: SemanticSet) -> Retrieval:
    """Predict pictures from what the probe reads, and look for them in every gallery."""
    return compute_best([inputs], data)


def compute_best(readings: Sequence[Inputs], data: SemanticSet) -> Retrieval:
    """The same where the probe may read in several ways; validation windows choose one.

    Args:
        readings: What it may read; validation windows choose one.
        data: The windows.
    """
    whiten = Whitening.fit(data.training.pictures[~data.validation])
    loss = validation_loss(data, whiten)
    pictures = data.training.pictures
    tried = [probe.predict(inputs, pictures, data.validation, loss) for inputs in readings]
    predicted = min(tried, key=lambda prediction: prediction.loss).values
    whiten = Whitening.fit(pictures)
    return search(whiten(predicted), whiten(data.held_out.pictures), data)


def search(predicted: np.ndarray, pictures: np.ndarray, data: SemanticSet) -> Retrieval:
    """Rank the windows of every gallery.

    Args:
        predicted: [N, E] what the held-out windows expect to see.
        pictures: [N, E] what was seen, in the same space.
        data: Holds the galleries.
    """
    parts = []
    for number, gallery in enumerate(data.galleries):
        similarity = cosines(predicted[gallery], pictures[gallery])
        order = np.argsort(-similarity, axis=1)[:, :SHOWN]
        found = np.full((len(gallery), SHOWN), -1)
        found[:, : order.shape[1]] = gallery[order]
        own = np.full(len(gallery), number)
        parts.append((galleries.ranks(similarity), own, gallery, found))
    rank, gallery, query, nearest = map(np.concatenate, zip(*parts, strict=True))
    candidates = float(np.mean([len(members) for members in data.galleries]))
    return Retrieval(rank, data.held_out.episode[query], gallery, query, nearest, candidates)


def validation_loss(data: SemanticSet, whiten: Whitening) -> Callable[[np.ndarray], float]:
    """Predictions for the validation windows -> 1 - mean reciprocal rank among them."""
    training, apart = data.training, data.data.horizon
    chosen = np.flatnonzero(data.validation)
    drawn = [
        galleries.draw(training.episode[chosen], training.start[chosen], apart, seed)
        for seed in range(len(data.galleries))
    ]
    pictures = whiten(training.pictures[chosen])

    def loss(predicted: np.ndarray) -> float:
        expected = whiten(predicted)
        found = [1 / galleries.ranks(cosines(expected[g], pictures[g])) for g in drawn]
        return 1 - float(np.concatenate(found).mean())

    return loss


def report(
    row: Row, result: Retrieval, plain: Retrieval | None, measure: str = "retrieval"
) -> None:
    """R@1, R@5 and median rank; beside them how much more than `plain` finds, query by query."""
    bootstrap = EpisodeBootstrap(result.episode)
    for within in (1, 5):
        hits, name = result.hits(within), f"{measure}_r{within}"
        row.add(name, bootstrap.mean(hits))
        seeds = [hits[result.gallery == g].mean() for g in np.unique(result.gallery)]
        row.add(f"{name}_spread", float(np.std(seeds)))
        if plain is not None:
            row.add(f"{name}_over_plain", bootstrap.mean(hits - plain.hits(within)))
            row.add(f"{name}_times_plain", bootstrap.ratio(hits, plain.hits(within)))
    row.add(f"{measure}_median_rank", median_rank(result, bootstrap))


def median_rank(result: Retrieval, bootstrap: EpisodeBootstrap) -> Estimate:
    """The rank that half of the queries reach, with its interval."""
    places = np.arange(1, int(result.rank.max()) + 1)
    counts = bootstrap.per_episode((result.rank[:, None] == places).astype(float))
    reached = np.cumsum(np.vstack([counts.sum(0), bootstrap.weights @ counts]), axis=1)
    medians = 1 + (reached >= reached[:, -1:] / 2).argmax(axis=1)
    return interval(float(medians[0]), medians[1:].astype(float))


@dataclass(frozen=True)
class RetrievalCurve:
    """R@1 of one tokenizer over the number of its tokens.

    Attributes:
        name: Name of the tokenizer.
        tokens: [P] ascending.
        r1: [P].
        low: [P] lower end of the interval.
        high: [P] upper end.
    """

    name: str
    tokens: np.ndarray
    r1: np.ndarray
    low: np.ndarray
    high: np.ndarray


def plot(
    curves: list[tuple[RetrievalCurve, str]], ceilings: dict[str, float], chance: float, ax
) -> None:
    """R@1 over tokens, each curve with its colour; ceilings and chance as lines across."""
    for curve, colour in curves:
        ax.fill_between(curve.tokens, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(curve.tokens, curve.r1, "o-", color=colour, label=curve.name, markersize=5)
    for style, (label, value) in zip(("-", "--", ":"), ceilings.items(), strict=False):
        ax.axhline(value, color=TEXT, linestyle=style, linewidth=1.1, label=label)
    ax.axhline(chance, color=MUTED, linewidth=1.1, label=f"chance {chance:.3f}")
    ax.set(xlabel="tokens read", ylabel="R@1")
    ax.set_ylim(bottom=0)
    ax.grid(color=GRID)
