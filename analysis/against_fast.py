"""What the rows of our tokenizers are against FAST's.

Against FAST as published, and with the suffix `_total` against the FAST whose encodings always
decode: error at equal bits, bits of a small autoregressive model at equal error, tokens at equal
error, and word error rate under noise at equal bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis import score
from analysis.bootstrap import EpisodeBootstrap
from analysis.rows import Row, by_bits
from analysis.score import RatePoint, Ratios, ratios_at_equal_bits, ratios_at_equal_error

RIVALS = (("", "fast"), ("_total", "fast-total"))
FAILING = 0.01
"""A FAST that fails on a larger share of its own encodings, each counted as zeros, is no rival."""
NEAR_IN_BITS = 0.15
"""Word error rates are compared between rows whose bits differ by at most this share."""


def add(rows: Sequence[Row], families: Sequence[str], bootstrap: EpisodeBootstrap) -> None:
    """Add the metrics to the rows of every family: prefixes `NAME@k`, tolerances `NAME~e`.

    Args:
        rows: All rows of a dataset.
        families: The names of our tokenizers.
        bootstrap: Over the episodes.
    """
    for family in families:
        whole = next(row for row in rows if row.name == family)
        for suffix, kind in RIVALS:
            fast = [row for row in rows if row.kind == kind]
            for curve, name in ((family, ""), (f"{family}~", "_adaptive")):
                members = by_bits(rows, curve)
                if fast and members:
                    _add_curve(whole, members, fast, bootstrap, name, suffix)


def _add_curve(
    whole: Row,
    members: Sequence[Row],
    fast: Sequence[Row],
    bootstrap: EpisodeBootstrap,
    curve: str,
    suffix: str,
) -> None:
    """One curve of a tokenizer against one of the FASTs."""
    points, rivals = [row.point for row in members], [row.point for row in fast]
    scored = _score(points, rivals, bootstrap, ratios_at_equal_bits)
    _add_score(whole, members, scored, f"score{curve}{suffix}", f"ratio{suffix}")
    modelled = [row for row in members if row.ar_point]
    ar_points = [row.ar_point for row in modelled], [row.ar_point for row in fast]
    scored = _score(*ar_points, bootstrap, ratios_at_equal_error)
    _add_score(whole, modelled, scored, f"ar_score{curve}{suffix}", f"ar_ratio{suffix}")
    _add_token_ratios(whole, members, fast, curve, suffix)
    if all("noise_wer" in row.metrics for row in (*members, *fast)):
        _add_wer_ratios(members, fast, suffix)


def _score(
    points: Sequence[RatePoint | None],
    fast: Sequence[RatePoint | None],
    bootstrap: EpisodeBootstrap,
    ratios_of: Ratios,
) -> score.Score | None:
    ours, theirs = ([p for p in group if p] for group in (points, fast))
    return score.compute(ours, theirs, bootstrap, ratios_of)


def _add_score(
    whole: Row, members: Sequence[Row], scored: score.Score | None, metric: str, ratio: str
) -> None:
    if scored is None:
        return
    whole.add(metric, scored.estimate)
    whole.add(f"{metric}_points", float(scored.points))
    for row, value in zip(members, scored.ratios, strict=True):
        row.add(ratio, float(value))


def _add_token_ratios(
    whole: Row, members: Sequence[Row], fast: Sequence[Row], curve: str, suffix: str
) -> None:
    """`token_ratio` of every row, and the largest: at most 1 where FAST never needs fewer."""
    ratios = ratios_at_equal_error(*_tokens_and_mse(members), *_tokens_and_mse(fast))
    for row, value in zip(members, ratios, strict=True):
        row.add(f"token_ratio{suffix}", float(value))
    if np.isfinite(ratios).any():
        whole.add(f"token_ratio_max{curve}{suffix}", float(np.nanmax(ratios)))


def _tokens_and_mse(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    tokens, mse = ([row.metrics[name] for row in rows] for name in ("tokens_mean", "mse"))
    return np.array(tokens), np.array(mse)


def _add_wer_ratios(members: Sequence[Row], fast: Sequence[Row], suffix: str) -> None:
    """`noise_wer_ratio` of the rows that have a FAST with about their bits."""
    theirs = np.array([row.metrics["bits_mean"] for row in fast])
    for row in members:
        away = np.abs(row.metrics["bits_mean"] / theirs - 1)
        nearest = int(away.argmin())
        if away[nearest] <= NEAR_IN_BITS:
            reference = fast[nearest].metrics["noise_wer"]
            row.add(f"noise_wer_ratio{suffix}", row.metrics["noise_wer"] / max(reference, 1e-9))
