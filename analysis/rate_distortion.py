"""The rate-distortion curve: MSE in scored space over bits per chunk, nominal or modelled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.rows import Row
from analysis.score import pareto_front
from analysis.style import BINS, FAST, GRID, TOTAL, YARDSTICK, number_ticks

WORST_SHOWN = 1.0
"""A larger error than guessing the middle: a chunk that decoded to nonsense."""


@dataclass(frozen=True)
class Curve:
    """Points of one tokenizer, by rising bits.

    Attributes:
        name: Name of the family of rows.
        kind: SCORING's kind of its rows.
        bits: [P] bits per chunk.
        mse: [P].
        low: [P] lower end of the interval of the MSE, NaN where it has none.
        high: [P] upper end.
    """

    name: str
    kind: str
    bits: np.ndarray
    mse: np.ndarray
    low: np.ndarray
    high: np.ndarray


def compute(rows: Iterable[Row], metric: str = "bits_mean") -> list[Curve]:
    """Group rows into curves by their family.

    Args:
        rows: Those without the metric are left out.
        metric: What a curve's bits are.
    """
    families: dict[str, list[Row]] = {}
    for row in rows:
        if metric in row.metrics:
            families.setdefault(row.family, []).append(row)
    return [_curve(name, members, metric) for name, members in families.items()]


def _curve(name: str, rows: list[Row], metric: str) -> Curve:
    rows = sorted(rows, key=lambda row: row.metrics[metric])
    intervals = np.array([row.ends("mse") for row in rows])
    bits, mse = (np.array([row.metrics[key] for row in rows]) for key in (metric, "mse"))
    return Curve(name, rows[0].kind, bits, mse, intervals[:, 0], intervals[:, 1])


def plot(curves: list[Curve], colours: dict[str, str], ax) -> None:
    """All curves; FAST's points off its Pareto front are hollow."""
    for curve in curves:
        if curve.kind == "yardstick":
            ax.loglog(curve.bits, curve.mse, ":", color=YARDSTICK, label="Gaussian yardstick")
        elif curve.kind == "bins":
            ax.loglog(curve.bits, curve.mse, "D", color=BINS, label="256 bins", markersize=6)
        elif curve.kind in ("fast", "fast-total"):
            _plot_fast(curve, ax)
        else:
            _plot_prefixes(curve, colours[curve.name.removesuffix("~")], ax)
    ax.set(xlabel="bits per chunk of one second", ylabel="MSE in scored space")
    worst = max(curve.mse[curve.mse < WORST_SHOWN].max(initial=0) for curve in curves)
    ax.set_ylim(top=worst * 1.6)
    number_ticks(ax.xaxis)
    ax.grid(color=GRID, which="major")


def _plot_fast(curve: Curve, ax) -> None:
    published = curve.kind == "fast"
    colour, style = (FAST, "s-") if published else (TOTAL, "s--")
    label = "FAST" if published else "FAST, total (stronger)"
    front = pareto_front(curve.bits, curve.mse)
    beaten = np.setdiff1d(np.arange(len(curve.bits)), front)
    ax.loglog(curve.bits[front], curve.mse[front], style, color=colour, label=label, markersize=6)
    ax.loglog(
        curve.bits[beaten], curve.mse[beaten], "s", color=colour, fillstyle="none", markersize=6
    )


def _plot_prefixes(curve: Curve, colour: str, ax) -> None:
    if curve.name.endswith("~"):
        label = f"{curve.name[:-1]}, adaptive"
        ax.loglog(curve.bits, curve.mse, "--", color=colour, label=label, linewidth=1.5)
        return
    ax.fill_between(curve.bits, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
    ax.loglog(curve.bits, curve.mse, "-", color=colour, label=curve.name, linewidth=2.2)
