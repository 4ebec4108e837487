"""A row of metrics.json, and how one tokenizer's token ids become its figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from analysis import codebook, group_errors, smoothness, stability
from analysis.bootstrap import EpisodeBootstrap, Estimate
from analysis.codebook import CodebookUse
from analysis.codecs import ABSENT, Codec, Decoded, bits_per_window
from analysis.evalset import EvalSet
from analysis.score import RatePoint
from analysis.smoothness import Smoothness
from analysis.stability import Disturbed

ERROR_EDGES = np.concatenate([[0.0], np.geomspace(1e-6, 1e4, 500)])


@dataclass
class Row:
    """One row of metrics.json.

    Attributes:
        name: `fast@10`, `NAME`, `NAME@8` ...
        family: The curve that it is a point of, see `family_of`.
        kind: SCORING's kind.
        metrics: Value by name.
        intervals: 95 % interval by name, where there is one: over 4 episodes at least.
        prefix: The first so many tokens are judged; None for all of them.
        point: Bits and error per window, for the score; None for the yardstick.
        ar_point: The same with the bits of a small autoregressive model.
        use: Codebook use, where the row is a whole tokenizer's.
        smoothness: Likewise.
    """

    name: str
    family: str
    kind: str
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    prefix: int | None = None
    point: RatePoint | None = None
    ar_point: RatePoint | None = None
    use: CodebookUse | None = None
    smoothness: Smoothness | None = None

    def add(self, metric: str, estimate: Estimate | float) -> None:
        """Store a value, with its interval where it has one; NaN is no value."""
        value = estimate.value if isinstance(estimate, Estimate) else estimate
        if not np.isfinite(value):
            return
        self.metrics[metric] = float(value)
        if isinstance(estimate, Estimate) and np.isfinite(estimate.low):
            self.intervals[metric] = float(estimate.low), float(estimate.high)

    def ends(self, metric: str) -> tuple[float, float]:
        """The 95 % interval of a metric, for drawing; NaN where it has none."""
        return self.intervals.get(metric, (np.nan, np.nan))

    def to_dict(self) -> dict:
        """As in metrics.json."""
        data: dict = {"kind": self.kind}
        for metric, value in self.metrics.items():
            data[metric] = value
            if metric in self.intervals:
                data[f"{metric}_ci"] = list(self.intervals[metric])
        return data


def measure(
    codec: Codec,
    tokens: np.ndarray,
    data: EvalSet,
    bootstrap: EpisodeBootstrap,
    disturbed: Disturbed[np.ndarray],
    prefix: int | None = None,
    kind: str | None = None,
) -> Row:
    """Every figure of one tokenizer, or of one prefix of it.

    Args:
        codec: The tokenizer.
        tokens: [N, L] its token ids of the scored windows.
        data: The held-out windows.
        bootstrap: Over the episodes of `data`.
        disturbed: Its token ids of disturbed windows.
        prefix: Judge the first so many tokens only.
        kind: Kind of the row; the codec's where omitted.
    """
    row, decoded = measure_rate(codec, tokens, data, bootstrap, prefix, kind)
    tokens = tokens[:, :prefix]
    _add_shape(row, decoded, data, bootstrap)
    _add_use(row, codebook.compute(codec, tokens))
    _add_stability(row, tokens, disturbed, data, prefix)
    _add_faults(row, codec, tokens, data, disturbed.indices)
    for group in group_errors.groups_of(data):
        error = group_errors.compute(group, decoded.relative, data.batch.relative)
        row.add(group.metric, bootstrap.mean(error))
    return row


def measure_rate(
    codec: Codec,
    tokens: np.ndarray,
    data: EvalSet,
    bootstrap: EpisodeBootstrap,
    prefix: int | None = None,
    kind: str | None = None,
) -> tuple[Row, Decoded]:
    """Length, error and failures alone, with what was decoded; arguments as in `measure`."""
    name = codec.name if prefix is None else f"{codec.name}@{prefix}"
    row = Row(name, family_of(name), kind or codec.kind, prefix=prefix)
    tokens = tokens[:, :prefix]
    row.add("episodes", float(len(bootstrap.episodes)))
    decoded = codec.decode(tokens, data.batch)
    bits = bits_per_window(tokens, codec.sizes(tokens.shape[1]))
    _add_length(row, tokens, bits, bootstrap)
    _add_error(row, decoded, bits, data, bootstrap)
    row.add("decode_failures", bootstrap.mean(decoded.failed))
    return row, decoded


def _add_length(
    row: Row, tokens: np.ndarray, bits: np.ndarray, bootstrap: EpisodeBootstrap
) -> None:
    count = (tokens != ABSENT).sum(1)
    row.add("tokens_mean", bootstrap.mean(count))
    row.add("tokens_p99", float(np.quantile(count, 0.99)))
    row.add("bits_mean", bootstrap.mean(bits))


def _add_error(
    row: Row, decoded: Decoded, bits: np.ndarray, data: EvalSet, bootstrap: EpisodeBootstrap
) -> None:
    error = np.abs(decoded.scored - data.batch.scored).reshape(len(data.batch), -1)
    values = np.full(len(error), float(error.shape[1]))
    squared = (error**2).sum(1)
    row.add("mse", bootstrap.ratio(squared, values))
    row.add("l1", bootstrap.ratio(error.sum(1), values))
    row.add("p99_abs", _p99(error, bootstrap))
    row.add("max_abs", float(error.max()))
    row.point = RatePoint(bits, squared, values)


def _p99(error: np.ndarray, bootstrap: EpisodeBootstrap) -> Estimate:
    bins = np.searchsorted(ERROR_EDGES, error, side="right") - 1
    bins = np.clip(bins, 0, len(ERROR_EDGES) - 2)
    counts = np.zeros((len(error), len(ERROR_EDGES) - 1))
    np.add.at(counts, (np.arange(len(error))[:, None], bins), 1)
    binned = bootstrap.quantile(counts, ERROR_EDGES, 0.99)
    exact = float(np.quantile(error, 0.99))
    correction = exact / binned.value if binned.value > 0 else 1.0
    return Estimate(exact, binned.low * correction, binned.high * correction)


def _add_shape(row: Row, decoded: Decoded, data: EvalSet, bootstrap: EpisodeBootstrap) -> None:
    result = smoothness.compute(decoded.scored, data.batch.scored, data.fps)
    row.add("jerk_ratio", bootstrap.ratio(result.jerk, result.true_jerk))
    row.add("dct_l1", bootstrap.mean(result.dct_l1))
    row.add("out_of_range", bootstrap.mean(data.space.outside(decoded.relative)))
    row.smoothness = result


def _add_use(row: Row, use: CodebookUse) -> None:
    row.add("utilisation", float(use.utilisation.mean()))
    row.add("perplexity", float(use.perplexity.mean()))
    levels = use.per_level()
    for level, (utilisation, perplexity) in levels.items() if len(levels) > 1 else ():
        row.add(f"utilisation_level_{level}", utilisation)
        row.add(f"perplexity_level_{level}", perplexity)
    row.use = use


def _add_stability(
    row: Row,
    tokens: np.ndarray,
    disturbed: Disturbed[np.ndarray],
    data: EvalSet,
    prefix: int | None,
) -> None:
    plain = tokens[disturbed.indices]
    seen = EpisodeBootstrap(data.episode_of[disturbed.indices])
    rates = {s: stability.word_error_rate(plain, n[:, :prefix]) for s, n in disturbed.noisy.items()}
    row.add("noise_wer", seen.mean(np.mean(list(rates.values()), axis=0)))
    for sigma, rate in rates.items():
        row.add(f"noise_wer_{sigma:g}", seen.mean(rate))
    first, second = (part[:, :prefix] for part in disturbed.pairs)
    pairs = EpisodeBootstrap(disturbed.pair_episode)
    row.add("token_overlap", pairs.mean(stability.overlap(first, second)))


def _add_faults(
    row: Row, codec: Codec, tokens: np.ndarray, data: EvalSet, indices: np.ndarray
) -> None:
    """What flipped tokens and random ones do."""
    plain, batch = tokens[indices], data.batch.take(indices)
    seen = EpisodeBootstrap(data.episode_of[indices])
    cost = stability.flip(codec, plain, data, indices)
    unflipped = codec.decode(plain, batch).scored
    base = ((unflipped - batch.scored) ** 2).mean(axis=(1, 2))
    row.add("flip_mse", seen.mean(cost.mse))
    row.add("flip_ratio", seen.ratio(cost.mse, base))
    row.add("flip_failures", seen.mean(cost.failed))
    levels = np.unique(cost.level)
    for level in levels if len(levels) > 1 else ():
        hit = cost.level == level
        where = EpisodeBootstrap(data.episode_of[indices[hit]])
        row.add(f"flip_mse_level_{level}", where.mean(cost.mse[hit]))
        row.add(f"flip_ratio_level_{level}", where.ratio(cost.mse[hit], base[hit]))
    decoded = codec.decode(stability.random_tokens(codec, plain), batch)
    row.add("random_sequence_failures", seen.mean(decoded.failed))
    outside = data.space.outside(decoded.relative) & ~decoded.failed
    row.add("random_sequence_out_of_range", seen.mean(outside))


def family_of(name: str) -> str:
    """The curve that a row is a point of: `NAME` of `NAME@8`, `NAME~` of `NAME~0.001`."""
    return name.split("~")[0] + "~" if "~" in name else name.split("@")[0]


def by_bits(rows: Iterable[Row], family: str) -> list[Row]:
    """The rows of one curve, by rising bits."""
    members = [row for row in rows if row.family == family]
    return sorted(members, key=lambda row: row.metrics["bits_mean"])


def yardstick_row(bits: float, mse: float) -> Row:
    """The Gaussian yardstick at so many bits."""
    row = Row(f"gaussian@{bits:g}", "gaussian", "yardstick")
    row.add("bits_mean", float(bits))
    row.add("mse", mse)
    return row
