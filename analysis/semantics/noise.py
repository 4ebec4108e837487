"""Token stability under noise, beside FAST at equal bits.

FAST's word error rate at a tokenizer's bits is that of its scale within 15 % of them; where no
scale is that near, it is interpolated linearly in bits between the two neighbouring scales, window
by window, and outside their range there is none. Ours is held against it in pairs: of the same
windows, under the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis import stability
from analysis.bootstrap import EpisodeBootstrap
from analysis.codecs import Codec, bits_per_window
from analysis.evalset import Batch, EvalSet
from analysis.rows import Row
from analysis.semantics.codes import View
from analysis.stability import SIGMAS, Disturbed, NoiseCurve

EQUAL_BITS = 0.15
FIRST = f"noise_wer_{SIGMAS[0]:g}"


@dataclass(frozen=True)
class Steadiness:
    """Word error rates and overlap of one tokenizer, or of some of its tokens.

    Attributes:
        bits: Mean bits per chunk.
        wer: [len(SIGMAS), n] word error rate per sigma and window.
        episode: [n].
        overlap: [p] share of tokens that stay from one frame to the next.
        pair_episode: [p].
    """

    bits: float
    wer: np.ndarray
    episode: np.ndarray
    overlap: np.ndarray
    pair_episode: np.ndarray


@dataclass(frozen=True)
class Encoded:
    """Token ids of disturbed windows: plain [n, L] and the others."""

    codec: Codec
    plain: np.ndarray
    disturbed: Disturbed[np.ndarray]


def encode(codec: Codec, data: EvalSet, disturbed: Disturbed[Batch]) -> Encoded:
    """Encode windows with and without their disturbance."""
    plain = codec.encode(data.batch.take(disturbed.indices))
    return Encoded(codec, plain, disturbed.map(codec.encode))


def compute(encoded: Encoded, data: EvalSet, view: View | None = None) -> Steadiness:
    """Rates of all tokens, or of a view of them."""
    pick = (lambda tokens: tokens) if view is None else _picker(view)
    plain, disturbed = pick(encoded.plain), encoded.disturbed.map(pick)
    wer = [stability.word_error_rate(plain, noisy) for noisy in disturbed.noisy.values()]
    sizes = encoded.codec.sizes(encoded.plain.shape[1])
    sizes = sizes if view is None else sizes[view.kept]
    return Steadiness(
        float(bits_per_window(plain, sizes[: plain.shape[1]]).mean()),
        np.array(wer),
        data.episode_of[disturbed.indices],
        stability.overlap(*disturbed.pairs),
        disturbed.pair_episode,
    )


def _picker(view: View):
    return lambda tokens: tokens[:, view.kept]


def nearest(rivals: Sequence[Steadiness], bits: float) -> int:
    """Which of them is nearest in bits."""
    return int(np.abs(np.log([rival.bits / bits for rival in rivals])).argmin())


@dataclass(frozen=True)
class FastRates:
    """FAST's word error rates at some number of bits.

    Attributes:
        wer: [len(SIGMAS), n] word error rate per sigma and window.
        interpolated: Whether no scale was within 15 % of the bits.
    """

    wer: np.ndarray
    interpolated: bool


def at_equal_bits(rivals: Sequence[Steadiness], bits: float) -> FastRates | None:
    """FAST's rates at so many bits; None outside its range.

    Args:
        rivals: FAST at several scales.
        bits: Of the tokenizer it is held against.
    """
    if not rivals:
        return None
    rivals = sorted(rivals, key=lambda rival: rival.bits)
    points = np.array([rival.bits for rival in rivals])
    closest = nearest(rivals, bits)
    if abs(points[closest] / bits - 1) <= EQUAL_BITS:
        return FastRates(rivals[closest].wer, interpolated=False)
    if not points.min() <= bits <= points.max():
        return None
    shares = [np.interp(bits, points, chosen) for chosen in np.eye(len(points))]
    return FastRates(np.tensordot(shares, [rival.wer for rival in rivals], 1), interpolated=True)


def report(row: Row, result: Steadiness, rival: FastRates | None) -> None:
    """`noise_wer_SIGMA`, `token_overlap`, FAST's rates at equal bits and the difference to them.

    Args:
        row: Where they are stored.
        result: The tokenizer's rates.
        rival: FAST's of the same windows under the same noise; None where it has no such bits.
    """
    bootstrap = EpisodeBootstrap(result.episode)
    row.add("bits_mean", result.bits)
    for number, (sigma, rates) in enumerate(zip(SIGMAS, result.wer, strict=True)):
        row.add(f"noise_wer_{sigma:g}", bootstrap.mean(rates))
        if rival is not None:
            row.add(f"fast_noise_wer_{sigma:g}", float(rival.wer[number].mean()))
            row.add(f"noise_wer_{sigma:g}_over_fast", bootstrap.mean(rates - rival.wer[number]))
    if rival is not None:
        row.add("fast_noise_wer_interpolated", float(rival.interpolated))
    row.add("token_overlap", EpisodeBootstrap(result.pair_episode).mean(result.overlap))


def curve(row: Row, name: str, prefix: str = "noise_wer") -> NoiseCurve:
    """A row's word error rates for drawing."""
    rates = np.array([row.metrics[f"{prefix}_{sigma:g}"] for sigma in SIGMAS])
    return NoiseCurve(name, row.metrics["bits_mean"], rates)
