"""Which semantic figures the tables show, under which heading and in which form."""

from __future__ import annotations

from analysis.columns import MSE, Column


def _plain(value: float) -> str:
    return f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _times(value: float) -> str:
    return f"{value:.2f}×"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


R1 = Column("retrieval_r1", "R@1", _plain, "own pictures ranked first in the gallery")
R1_OVER = Column("retrieval_r1_over_plain", "− plain", _signed, "R@1 less the plain tokenizer's")
R1_TIMES = Column("retrieval_r1_times_plain", "/ plain", _times, "R@1 over the plain tokenizer's")
R1_CEILING = Column("retrieval_r1_of_ceiling", "of ceiling", _share, "R@1 over the mean ceiling's")
EMBEDDED = Column("embedded_r1", "R@1, vectors", _plain, "the probe reads the codes' vectors, too")
EMBEDDED_TIMES = Column(
    "embedded_r1_times_plain", "/ plain, vectors", _times, "that over the plain tokenizer's"
)
SKILL = Column("next_frame_skill", "skill", _plain, "next-frame skill from codes and start frame")
SKILL_OVER = Column(
    "next_frame_skill_over_plain", "skill − plain", _signed, "skill less the plain tokenizer's"
)
MSE_TIMES = Column(
    "mse_times_plain", "MSE / plain", _times, "error over the plain tokenizer's at equal bits"
)
WER = Column("noise_wer_0.006", "WER", _plain, "token edit distance under noise σ = 0.006")
FAST_WER = Column("fast_noise_wer_0.006", "FAST WER", _plain, "FAST's at equal bits")
WER_OVER = Column(
    "noise_wer_0.006_over_fast",
    "WER − FAST",
    _signed,
    "WER less FAST's at equal bits, of the same windows under the same noise",
)

COLUMNS = (
    Column("tokens_mean", "tokens", lambda v: f"{v:.0f}", "tokens that the probe reads"),
    R1,
    R1_OVER,
    R1_TIMES,
    R1_CEILING,
    EMBEDDED,
    EMBEDDED_TIMES,
    Column("retrieval_r1_floor", "floor", _plain, "R@1 of probes fitted with shuffled images"),
    Column("retrieval_r5", "R@5", _plain, "own pictures among the first five"),
    Column("retrieval_median_rank", "median rank", lambda v: f"{v:.0f}", "of the own pictures"),
    SKILL,
    Column("next_frame_skill_over_start", "skill − start", _signed, "less the start frame's alone"),
    SKILL_OVER,
    Column(
        "next_frame_skill_over_shuffled", "skill − shuffled", _signed, "less that of other codes"
    ),
    Column("task_accuracy", "task", _plain, "balanced accuracy of the task"),
    Column("gripper_event_accuracy", "gripper", _plain, "balanced accuracy of gripper events"),
    WER,
    FAST_WER,
    WER_OVER,
    Column("token_overlap", "overlap", _share, "tokens equal to the next frame's window's"),
    MSE,
    MSE_TIMES,
)
"""Everything that a row may hold, in the order of the tables."""

WITH_INTERVAL = (R1, R1_OVER, R1_TIMES, SKILL, SKILL_OVER, WER_OVER, MSE_TIMES)
