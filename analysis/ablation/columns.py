"""Which figures of an ablation the tables show, and how a cell tells them."""

from __future__ import annotations

from analysis.ablation.comparison import Ablation, Group
from analysis.bootstrap import remark
from analysis.columns import Column
from analysis.rows import Row


def _plain(value: float) -> str:
    return f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _times(value: float) -> str:
    return f"{value:.2f}×"


def _small(value: float) -> str:
    return f"{value:.2e}".replace("e-0", "e-")


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _with_differences(column: Column) -> tuple[Column, Column, Column]:
    """A figure, and how it differs in the two recipes that all others are held against."""
    metric, name = column.metric, column.heading
    return (
        column,
        Column(f"{metric}_over_full", f"{name} − full", _signed, f"{name} less that of full"),
        Column(f"{metric}_over_plain", f"{name} − plain", _signed, f"{name} less plain_rvq's"),
    )


R1_FIRST = Column(
    "retrieval_r1_first", "R@1 first level", _plain, "own pictures ranked first, by first tokens"
)
R1 = Column("retrieval_r1", "R@1", _plain, "own pictures ranked first, by all tokens")
SKILL = Column("next_frame_skill", "skill", _plain, "next-frame skill of codes and start frame")
MSE = Column("mse", "MSE", _small, "error of all tokens in scored space")
WER = Column("noise_wer_0.006", "WER", _plain, "token edit distance under noise σ = 0.006")
WER_MORE = Column("noise_wer_0.008", "WER .008", _plain, "the same for σ = 0.008")
MSE_FULL = Column("mse_times_full", "MSE / full", _times, "error over full's at equal bits")
MSE_PLAIN = Column("mse_times_plain", "MSE / plain", _times, "error over plain_rvq's at equal bits")

COLUMNS = (
    Column("tokens", "tokens", _whole, "per chunk"),
    Column("codebook_size", "codes", _whole, "per codebook, as it came out"),
    Column("seeds", "seeds", _whole, "runs"),
    *_with_differences(R1_FIRST),
    *_with_differences(R1),
    Column(
        "embedded_r1_first", "vectors, first level", _plain, "R@1, the codes' vectors read, too"
    ),
    Column("embedded_r1", "vectors", _plain, "the same by all codes"),
    *_with_differences(SKILL),
    *(MSE, MSE_FULL, MSE_PLAIN),
    *_with_differences(WER),
    Column("noise_wer_0.008", "WER .008", _plain, "the same under noise σ = 0.008"),
    Column("token_overlap", "overlap", _plain, "tokens equal to the next frame's window's"),
    Column("seconds", "s / run", _whole, "wall time of a run, beside as many others as there were"),
)
IN_MARKDOWN = (
    *("tokens", "codebook_size", "retrieval_r1_first", "retrieval_r1_first_over_plain"),
    *("retrieval_r1", "retrieval_r1_over_full", "retrieval_r1_over_plain", "next_frame_skill"),
    *("next_frame_skill_over_plain", "mse_times_full", "mse_times_plain", "noise_wer_0.006"),
)


def text(row: Row, column: Column) -> str:
    """A figure with its spread over seeds; empty where the row has none."""
    if column.metric not in row.metrics:
        return ""
    spread = row.metrics.get(f"{column.metric}_spread")
    value = column.show(row.metrics[column.metric])
    return value if spread is None else f"{value} ± {column.show(spread)}"


def is_comparison(column: Column) -> bool:
    """Whether it holds a recipe against another one: its interval is always shown."""
    return "_over_" in column.metric or "_times_" in column.metric


def ends(row: Row, column: Column) -> str:
    """The 95 % interval; empty where there is none."""
    if column.metric not in row.intervals:
        return ""
    low, high = row.intervals[column.metric]
    return f"{column.show(low)}, {column.show(high)}"


def differs(group: Group) -> str:
    """In what a recipe differs from its parent."""
    row = group.rows[0]
    options = [f"{key.split('.', 1)[-1]} = {value}" for key, value in row.differs.items()]
    asked = row.differs.get("closed_form.codebook_size")
    if asked is not None and asked != row.codebook_size:
        options.append(f"{row.codebook_size} came out: too few windows for more")
    return ", ".join(options) or f"{row.parent} as it is"


def notes(ablation: Ablation) -> list[str]:
    """What a reader must know beside the figures."""
    seeds = sorted({len(group.rows) for group in ablation.groups})
    found = [f"Not measured: {', '.join(ablation.missing)}"] if ablation.missing else []
    few = remark(len(ablation.groups[0].measured[0].episodes))
    found += [few] if few else []
    if len(seeds) > 1:
        found.append(f"Recipes have {seeds[0]} to {seeds[-1]} seeds")
    return found


def facts(ablation: Ablation) -> str:
    """What was measured, in one line."""
    measured, row = ablation.groups[0].measured[0], ablation.groups[0].rows[0]
    return (
        f"{len(measured.episodes)} held-out episodes; {measured.by['galleries']} galleries of "
        f"about {measured.candidates:.0f} windows (chance {ablation.chance:.3f}); "
        f"{row.steps} steps a run; ± is the standard deviation over seeds, intervals of 95 % "
        "resample held-out episodes"
    )
