"""The figures of the comparison page, drawn as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis import (
    codebook,
    group_errors,
    rate_distortion,
    scores,
    smoothness,
    stability,
    svg,
    trajectories,
)
from analysis.against_fast import FAILING
from analysis.compare import DatasetComparison
from analysis.group_errors import GroupCurve
from analysis.rows import Row, by_bits
from analysis.score import pareto_front
from analysis.stability import SIGMAS, FlipCurve, NoiseCurve
from analysis.style import BINS, CLOSED, FAST, SERIES, TRAINED

RECONSTRUCTIONS = (SERIES[1], SERIES[2], SERIES[0])


def colours_of(datasets: Sequence[DatasetComparison]) -> dict[str, str]:
    """A colour per tokenizer, the same on the whole page; told apart within a dataset."""
    colours: dict[str, str] = {}
    for dataset in datasets:
        for kind, palette in (("rvq", TRAINED), ("closed-form", CLOSED)):
            names = [name for name in dataset.families if dataset.row(name).kind == kind]
            taken = {colours[name] for name in names if name in colours}
            free = [colour for colour in palette if colour not in taken] or list(palette)
            fresh = [name for name in names if name not in colours]
            colours |= {name: free[i % len(free)] for i, name in enumerate(fresh)}
    return colours


def score_figure(datasets: Sequence[DatasetComparison], colours: dict[str, str]) -> str:
    """The headline figure."""
    result = scores.compute(datasets)

    def paint(figure, axes) -> None:
        scores.plot(result, colours, axes[0, 0])

    return svg.draw("Scores against FAST", (9.5, 0.9 + 0.3 * len(result.names)), paint)


def rate_distortion_figure(result: DatasetComparison, colours: dict[str, str]) -> str:
    """MSE over bits."""
    curves = rate_distortion.compute(result.rows)

    def paint(figure, axes) -> None:
        rate_distortion.plot(curves, colours, axes[0, 0])
        axes[0, 0].legend(loc="lower left")

    return svg.draw(f"{result.data.name}: MSE over bits", (9.5, 5.0), paint)


def modelability_figure(result: DatasetComparison, colours: dict[str, str]) -> str | None:
    """MSE over the bits of a small autoregressive model; None where they were not measured."""
    curves = rate_distortion.compute(result.rows, "ar_bits")
    if not curves:
        return None

    def paint(figure, axes) -> None:
        rate_distortion.plot(curves, colours, axes[0, 0])
        axes[0, 0].set(xlabel="bits per chunk that a small causal model needs")
        axes[0, 0].legend(loc="lower left")

    return svg.draw(f"{result.data.name}: MSE over modelled bits", (9.5, 4.4), paint)


def trajectory_figure(result: DatasetComparison) -> str:
    """Chunks over their reconstructions, windows across and channels down."""
    drawn = result.trajectories
    assert drawn is not None
    colours = dict(zip(drawn.reconstructed, RECONSTRUCTIONS[-len(drawn.reconstructed) :]))  # noqa: B905
    rows, columns = len(drawn.channels), len(drawn.titles)

    def paint(figure, axes) -> None:
        for (channel, window), ax in np.ndenumerate(axes):
            trajectories.plot(drawn, window, channel, colours, ax)
            if channel == 0:
                ax.set_title(drawn.titles[window])
            if window == 0:
                ax.set_ylabel(f"{drawn.channels[channel]}\n({drawn.units[channel]})")
        for ax in axes[-1]:
            ax.set_xlabel("seconds")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))

    size = (9.5, 0.8 + 1.55 * rows)
    return svg.draw(f"{result.data.name}: reconstructions", size, paint, rows, columns)


def codebook_figure(result: DatasetComparison, family: str) -> str:
    """Utilisation and perplexity of every codebook of a tokenizer."""
    use = result.row(family).use
    assert use is not None

    def paint(figure, axes) -> None:
        codebook.plot(use, axes[0, 0])
        figure.legend(loc="outside upper center", ncols=3)

    return svg.draw(f"{result.data.name}: codebooks of {family}", (5.6, 3.1), paint)


def group_figure(result: DatasetComparison, colours: dict[str, str]) -> str:
    """Physical error over bits, one panel per channel group."""
    groups = group_errors.groups_of(result.data)
    columns = min(len(groups), 3)
    rows = -(-len(groups) // columns)
    families = {"FAST": FAST, "256 bins": BINS, **{f: colours[f] for f in result.families}}

    def paint(figure, axes) -> None:
        for group, ax in zip(groups, axes.flat):  # noqa: B905
            curves = [(_group_curve(result, name, group.metric), c) for name, c in families.items()]
            group_errors.plot([pair for pair in curves if len(pair[0].bits)], group, ax)
        for ax in axes.flat[len(groups) :]:
            ax.set_visible(False)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4)

    size = (9.5, 0.5 + 2.5 * rows)
    return svg.draw(f"{result.data.name}: error per channel group", size, paint, rows, columns)


def _group_curve(result: DatasetComparison, name: str, metric: str) -> GroupCurve:
    family = {"FAST": "fast", "256 bins": "bins256"}.get(name, name)
    rows = [row for row in by_bits(result.rows, family) if row.metrics["decode_failures"] < FAILING]
    bits, error = (np.array([row.metrics[m] for row in rows]) for m in ("bits_mean", metric))
    front = pareto_front(bits, error) if family == "fast" else slice(None)
    return GroupCurve(name, bits[front], error[front])


def stability_figure(result: DatasetComparison, colours: dict[str, str]) -> str:
    """Word error rate under noise: ours and the FAST row nearest in bits."""
    curves = []
    for family in result.families:
        row = result.row(family)
        curves.append((_noise_curve(row), colours[family]))
    curves.append((_noise_curve(_fast_nearest(result)), FAST))

    def paint(figure, axes) -> None:
        stability.plot(curves, axes[0, 0])
        axes[0, 0].legend(loc="upper left")

    return svg.draw(f"{result.data.name}: token stability", (5.6, 3.1), paint)


def _fast_nearest(result: DatasetComparison) -> Row:
    """The row of FAST nearest in bits to our first tokenizer."""
    bits = [result.row(family).metrics["bits_mean"] for family in result.families] or [1.0]
    fast = [row for row in result.rows if row.kind == "fast"]
    return min(fast, key=lambda row: abs(np.log(row.metrics["bits_mean"] / bits[0])))


def flip_figure(result: DatasetComparison, colours: dict[str, str]) -> str | None:
    """What a wrong token of every level costs; None where no tokenizer has levels."""
    curves = []
    for family in result.families:
        metrics = result.row(family).metrics
        names = [name for name in metrics if name.startswith("flip_ratio_level_")]
        ratio = np.array([metrics[name] for name in names])
        if len(ratio):
            curves.append((FlipCurve(family, ratio), colours[family]))
    if not curves:
        return None
    nearest = _fast_nearest(result)

    def paint(figure, axes) -> None:
        stability.plot_flips(curves, nearest.metrics["flip_ratio"], axes[0, 0])
        axes[0, 0].legend(loc="upper right")

    return svg.draw(f"{result.data.name}: cost of a wrong token", (5.6, 3.1), paint)


def _noise_curve(row) -> NoiseCurve:
    rates = np.array([row.metrics[f"noise_wer_{sigma:g}"] for sigma in SIGMAS])
    return NoiseCurve(row.name, row.metrics["bits_mean"], rates)


def spectrum_figure(result: DatasetComparison, colours: dict[str, str]) -> str:
    """Where in frequency the error lies."""
    shown = {family: (result.row(family).smoothness, colours[family]) for family in result.families}
    shown["fast@10"] = (result.row("fast@10").smoothness, FAST)

    def paint(figure, axes) -> None:
        smoothness.plot(shown, axes[0, 0])
        axes[0, 0].legend(loc="upper right")

    return svg.draw(f"{result.data.name}: spectrum of the error", (5.6, 3.1), paint)
