"""The headline figure: every tokenizer's score, with its interval, against FAST at 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.compare import DatasetComparison
from analysis.style import FAST, GRID

TICKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5)


@dataclass(frozen=True)
class Scores:
    """One entry per dataset and tokenizer that has a score there.

    Attributes:
        datasets: [n] names of the datasets.
        names: [n] names of the tokenizers.
        value: [n] score against FAST as published.
        low: [n] lower end of its interval, NaN where it has none.
        high: [n] upper end.
        total: [n] score against the stronger FAST, NaN where that was not measured.
    """

    datasets: list[str]
    names: list[str]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    total: np.ndarray


def compute(datasets: Sequence[DatasetComparison]) -> Scores:
    """Gather the scores."""
    entries = [(d.data.name, d.row(name)) for d in datasets for name in d.families]
    entries = [(dataset, row) for dataset, row in entries if "score" in row.metrics]
    figures = [
        (row.metrics["score"], *row.ends("score"), row.metrics.get("score_total", np.nan))
        for _, row in entries
    ]
    columns = np.array(figures).reshape(-1, 4).T
    return Scores([d for d, _ in entries], [row.name for _, row in entries], *columns)


def plot(result: Scores, colours: dict[str, str], ax) -> None:
    """One line each; filled against FAST as published, hollow against the stronger one."""
    for y, name in enumerate(result.names):
        spread = [[result.value[y] - result.low[y]], [result.high[y] - result.value[y]]]
        style = {"color": colours[name], "markersize": 7}
        ax.errorbar(result.value[y], y, xerr=np.maximum(spread, 0), fmt="o", capsize=2, **style)
        ax.plot(result.total[y], y, "o", fillstyle="none", **style)
    ax.axvline(1, color=FAST, linewidth=1.4)
    ax.set_xscale("log")
    seen = np.concatenate([result.low, result.high, result.total, [0.5, 1.2]])
    ticks = [t for t in TICKS if np.nanmin(seen) / 1.5 < t < np.nanmax(seen) * 1.5]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.set_xticks([], minor=True)
    pairs = zip(result.datasets, result.names, strict=True)
    labels = [name if name.startswith(data) else f"{data} · {name}" for data, name in pairs]
    ax.set_yticks(range(len(labels)), labels)
    ax.set(ylim=(len(labels) - 0.5, -0.5), xlabel="error relative to FAST at equal bits")
    ax.grid(axis="x", color=GRID)
