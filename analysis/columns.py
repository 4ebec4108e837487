"""Which metrics the tables show, under which heading and in which form."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Column(NamedTuple):
    """A metric in a table.

    Attributes:
        metric: Its name in metrics.json.
        heading: Above the column.
        show: Value -> text.
        meaning: In one sentence.
    """

    metric: str
    heading: str
    show: Callable[[float], str]
    meaning: str


def _count(value: float) -> str:
    return f"{value:.1f}" if value % 1 else f"{value:.0f}"


def _small(value: float) -> str:
    if value == 0 or value >= 0.1:
        return f"{value:.3g}"
    return f"{value:.2e}".replace("e-0", "e-")


def _share(value: float) -> str:
    return "0" if value == 0 else f"{100 * value:.3g} %"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 1000 else f"{value:.1e}".replace("e+0", "e")


def _times(value: float) -> str:
    return f"{value:.2g}×" if value < 10 else f"{value:.0f}×"


SCORE = Column("score", "score", _ratio, "error relative to FAST at equal bits, lower is better")
SCORE_TOTAL = Column(
    "score_total", "vs total", _ratio, "the same against the FAST that always decodes"
)
ADAPTIVE = Column(
    "score_adaptive", "adaptive", _ratio, "the score of adaptive length, an end token included"
)
ADAPTIVE_TOTAL = Column(
    "score_adaptive_total", "ad. vs total", _ratio, "adaptive length against that FAST"
)
SCORES = (SCORE, SCORE_TOTAL, ADAPTIVE, ADAPTIVE_TOTAL)
EPISODES = Column("episodes", "episodes", _count, "held out; what the intervals resample")
TOKENS = Column("tokens_mean", "tokens", _count, "mean tokens per chunk")
BITS = Column("bits_mean", "bits", lambda v: f"{v:.0f}", "mean bits per chunk")
MSE = Column("mse", "MSE", _small, "mean squared error in scored space")
FAILURES = Column("decode_failures", "fails", _share, "own encodings that do not decode")
RANDOM = Column(
    "random_sequence_failures", "random fails", _share, "random token sequences that do not decode"
)
AR_SCORE = Column(
    "ar_score", "AR", _ratio, "bits of a small autoregressive model over FAST's at equal error"
)
AR_ADAPTIVE = Column("ar_score_adaptive", "AR, adaptive", _ratio, "the same of adaptive length")
MODELLED = (AR_SCORE, AR_ADAPTIVE)
TOKEN_RATIO_MAX = Column(
    "token_ratio_max",
    "most tokens",
    _ratio,
    "largest number of tokens of a prefix over FAST's mean at the same MSE",
)
RATIO = Column("ratio", "vs FAST", _ratio, "MSE over FAST's at the same bits")

COLUMNS = (
    TOKENS,
    BITS,
    MSE,
    RATIO,
    Column(
        "within_tolerance",
        "kept",
        _share,
        "chunks within the tolerance, in model space; the others have all tokens",
    ),
    Column("yardstick_ratio", "vs Gauss", _ratio, "MSE over the yardstick's at those bits"),
    Column("token_ratio", "tokens vs FAST", _ratio, "mean tokens over FAST's mean at the same MSE"),
    Column("ar_bits", "AR bits", lambda v: f"{v:.0f}", "bits that a small causal model needs"),
    Column("ar_ratio", "AR vs FAST", _ratio, "those bits over FAST's at the same MSE"),
    Column("l1", "L1", _small, "mean absolute error in scored space"),
    Column("p99_abs", "p99", _small, "99th percentile of the absolute error"),
    Column("max_abs", "max", _small, "largest absolute error"),
    FAILURES,
    RANDOM,
    Column(
        "out_of_range",
        "out of range",
        _share,
        "decodes that leave the training range, relative channels relative to the robot's state",
    ),
    Column("utilisation", "used", _share, "share of the codes that occur, mean over codebooks"),
    Column("perplexity", "perplexity", lambda v: f"{v:.0f}", "of the codes, mean over codebooks"),
    Column("token_overlap", "overlap", _share, "tokens equal to the next frame's window's"),
    Column("noise_wer", "noise WER", _ratio, "token edit distance under noise, mean over three σ"),
    Column(
        "noise_wer_ratio",
        "WER vs FAST",
        _ratio,
        "over that of FAST, where one has these bits ±15 %",
    ),
    Column("flip_ratio", "flip cost", _times, "MSE after one wrong token over MSE without"),
    Column("jerk_ratio", "jerk", _ratio, "jerk relative to the recording"),
    Column("dct_l1", "DCT L1", _small, "mean absolute DCT of the error"),
)
TIMES = (
    Column("encode_us", "encode", _times, "time to encode one chunk, relative to fast@10"),
    Column("decode_us", "decode", _times, "time to decode one chunk, relative to fast@10"),
)
TIME_REFERENCE = "fast@10"
