"""The reconstruction paid for semantics: the error beside the plain tokenizer's at equal bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.bootstrap import EpisodeBootstrap, interval
from analysis.codecs import bits_per_window
from analysis.evalset import EvalSet
from analysis.rows import Row
from analysis.rvq_codec import RvqCodec, prefixes
from analysis.score import RatePoint
from analysis.semantics.codes import View
from analysis.style import GRID

PREFIXES = 12


@dataclass(frozen=True)
class PrefixErrors:
    """Error of several prefixes of one tokenizer, by rising bits.

    Attributes:
        lengths: [P] tokens.
        points: P of them, per window.
        episode: [N] episode of every window.
    """

    lengths: list[int]
    points: list[RatePoint]
    episode: np.ndarray

    @property
    def bits(self) -> np.ndarray:
        """[P] mean bits per chunk."""
        return np.array([point.bits.mean() for point in self.points])

    @property
    def mse(self) -> np.ndarray:
        """[P] mean squared error in scored space."""
        return np.array([p.squared_error.sum() / p.values.sum() for p in self.points])

    def replicates(self) -> np.ndarray:
        """[P, R] errors under every resampling of the episodes."""
        bootstrap = EpisodeBootstrap(self.episode)
        return np.array([bootstrap.replicates(p.squared_error, p.values) for p in self.points])


def compute(codec: RvqCodec, data: EvalSet, views: Sequence[View]) -> PrefixErrors:
    """Decode prefixes of the codes of all scored windows, those of the views among them."""
    tokens = codec.encode(data.batch)
    own = [view.tokens for view in views if view.is_prefix]
    lengths = sorted({*prefixes(codec.length, PREFIXES), *own})
    points = []
    for length in lengths:
        decoded = codec.decode(tokens[:, :length], data.batch)
        error = np.square(decoded.scored - data.batch.scored).sum(axis=(1, 2))
        bits = bits_per_window(tokens[:, :length], codec.sizes(length)).astype(float)
        values = np.full(len(error), float(np.prod(data.batch.scored.shape[1:])))
        points.append(RatePoint(bits, error, values))
    return PrefixErrors(lengths, points, data.episode_of)


def report(row: Row, view: View, result: PrefixErrors, plain: PrefixErrors | None) -> None:
    """`mse`, and `mse_times_plain`: over the plain tokenizer's at as many bits.

    Only prefixes of the token order have an error. Between its prefixes the plain tokenizer's
    log-MSE is interpolated linearly in bits. A row with more bits than the plain tokenizer has is
    judged at all of those, by its own curve.
    """
    if not view.is_prefix:
        return
    place = result.lengths.index(view.tokens)
    point = result.points[place]
    row.add("mse", EpisodeBootstrap(result.episode).ratio(point.squared_error, point.values))
    if plain is None:
        return
    bits = min(result.bits[place], plain.bits.max())
    if bits < max(plain.bits.min(), result.bits.min()):
        return
    ours, theirs = (at_bits(bits, errors.bits, errors.mse) for errors in (result, plain))
    pair = (at_bits(bits, errors.bits, errors.replicates()) for errors in (result, plain))
    above, below = pair
    row.add("mse_times_plain", interval(float(ours / theirs), above / below))
    row.add("mse_compared_at_bits", float(bits))


def at_bits(bits: float, points: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Errors [P] or [P, R] interpolated at `bits`, their logarithm linear between the points."""
    right = int(np.clip(np.searchsorted(points, bits), 1, max(len(points) - 1, 1)))
    if len(points) == 1:
        return errors[0]
    left = right - 1
    share = (bits - points[left]) / (points[right] - points[left])
    logs = np.log(np.maximum(errors, 1e-300))
    return np.exp((1 - share) * logs[left] + share * logs[right])


def plot(curves: dict[str, PrefixErrors], colours: dict[str, str], ax) -> None:
    """MSE over bits."""
    for name, errors in curves.items():
        ax.semilogy(errors.bits, errors.mse, "o-", color=colours[name], label=name, markersize=4)
    ax.set(xlabel="bits per chunk of one second", ylabel="MSE in scored space")
    ax.grid(color=GRID)
