"""The figures of the ablation page, drawn as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis import svg
from analysis.ablation import trade
from analysis.ablation.columns import MSE, MSE_PLAIN, R1, R1_FIRST, SKILL, WER
from analysis.ablation.comparison import Ablation
from analysis.ablation.trade import Trade
from analysis.columns import Column
from analysis.rows import Row
from analysis.style import GRID, MUTED, SERIES
from tokenizer_training.ablation.recipes import FULL, PLAIN, TEACHER

COLOURS = {"no_": SERIES[1], "levels_": SERIES[2], "codebook_": SERIES[4], TEACHER: SERIES[3]}
"""By the beginning of a recipe's name."""
OTHER = SERIES[5]
SHOWN = (R1_FIRST, R1, SKILL, WER)


def colour_of(recipe: str) -> str:
    """One colour for what is left out, one for each size that is turned."""
    if recipe in (FULL, PLAIN):
        return {FULL: SERIES[0], PLAIN: SERIES[7]}[recipe]
    return next((c for start, c in COLOURS.items() if recipe.startswith(start)), OTHER)


def trade_figure(ablation: Ablation) -> str | None:
    """Retrieval over what it costs in reconstruction; None without a plain recipe."""
    if ablation.group(PLAIN) is None:
        return None
    rows = [row for row in ablation.rows if MSE_PLAIN.metric in row.metrics or row.name == PLAIN]
    colours = [colour_of(row.name) for row in rows]
    cost = np.array([row.metrics.get(MSE_PLAIN.metric, 1.0) for row in rows])

    def paint(figure, axes) -> None:
        for column, ax in zip((R1_FIRST, R1), axes[0], strict=True):
            found, spread = _values(rows, column)
            result = Trade([row.name for row in rows], cost, found, spread, ablation.chance)
            trade.plot(result, colours, column.heading, ax)

    return svg.draw(f"{ablation.dataset}: semantics and their price", (9.5, 4.8), paint, 1, 2)


def _values(rows: Sequence[Row], column: Column) -> tuple[np.ndarray, np.ndarray]:
    """Means over seeds, and their spread: 0 where there is but one seed."""
    values = [row.metrics[column.metric] for row in rows]
    return np.array(values), np.array(
        [row.metrics.get(f"{column.metric}_spread", 0) for row in rows]
    )


def bars_figure(ablation: Ablation) -> str:
    """Every recipe's main figures; dots are seeds."""
    groups, rows = ablation.groups, ablation.rows
    places = np.arange(len(rows))

    def paint(figure, axes) -> None:
        for column, ax in zip(SHOWN, axes[0], strict=True):
            values = np.array([row.metrics[column.metric] for row in rows])
            ends = np.array([row.ends(column.metric) for row in rows]).T
            spread = np.maximum([values - ends[0], ends[1] - values], 0)
            colours = [colour_of(row.name) for row in rows]
            ax.barh(places, values, color=colours, height=0.62, alpha=0.8)
            ax.errorbar(values, places, xerr=spread, fmt="none", ecolor=MUTED, capsize=2)
            for place, group in zip(places, groups, strict=True):
                seeds = group.values(column.metric)
                ax.plot(seeds, np.full(len(seeds), place), "o", color=MUTED, markersize=2.6)
            ax.set(title=column.heading, ylim=(len(rows) - 0.4, -0.6))
            ax.set_yticks(places, [row.name for row in rows])
            ax.grid(axis="x", color=GRID)

    size = (9.5, 1.2 + 0.3 * len(rows))
    return svg.draw(f"{ablation.dataset}: recipes", size, paint, 1, len(SHOWN), sharey=True)


@dataclass(frozen=True)
class SizeCurve:
    """Recipes that differ in one number, ascending.

    Attributes:
        size: [P] the number as it came out.
        rows: P of them.
    """

    size: np.ndarray
    rows: list[Row]


def size_curve(ablation: Ablation, beginning: str, metric: str) -> SizeCurve | None:
    """The full recipe and those whose names begin like this; None where it would be one point."""
    found = {
        row.metrics[metric]: row
        for row in reversed(ablation.rows)
        if row.name == FULL or row.name.startswith(beginning)
    }
    sizes = sorted(found)
    return SizeCurve(np.array(sizes), [found[s] for s in sizes]) if len(sizes) > 1 else None


def sizes_figure(ablation: Ablation) -> str | None:
    """Retrieval and error over the number of levels and the size of codebooks; None without."""
    curves = {
        "quantizer levels": size_curve(ablation, "levels_", "levels"),
        "codes per codebook": size_curve(ablation, "codebook_", "codebook_size"),
    }
    drawn = {label: curve for label, curve in curves.items() if curve is not None}
    if not drawn:
        return None

    def paint(figure, axes) -> None:
        for line, (label, curve) in zip(axes, drawn.items(), strict=True):
            for ax, columns in zip(line, ((R1_FIRST, R1), (MSE,), (WER,)), strict=True):
                _plot_sizes(curve, label, columns, ax)
            line[1].set_yscale("log")
        axes[0, 0].legend(loc="best")

    size = (9.5, 3.1 * len(drawn))
    return svg.draw(f"{ablation.dataset}: sizes", size, paint, len(drawn), 3)


def _plot_sizes(curve: SizeCurve, label: str, columns: Sequence[Column], ax) -> None:
    for number, column in enumerate(columns):
        values, spread = _values(curve.rows, column)
        style = {"color": SERIES[(0, 2)[number]], "capsize": 2, "markersize": 5}
        ax.errorbar(curve.size, values, yerr=spread, fmt="o-", label=column.heading, **style)
    ax.set_xscale("log", base=2)
    ax.set_xticks(curve.size, [f"{size:.0f}" for size in curve.size])
    ax.set_xticks([], minor=True)
    ax.set(xlabel=label, ylabel=columns[-1].heading)
    ax.grid(color=GRID)
