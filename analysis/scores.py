"""The headline figure: every tokenizer's score, with its interval, against FAST at 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.compare import DatasetComparison
from analysis.style import FAST, GRID

TICKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3)


@dataclass(frozen=True)
class Scores:
    """One entry per dataset and tokenizer.

    Attributes:
        datasets: Names of the datasets.
        names: Names of the tokenizers.
        value: [datasets, names] score, NaN where there is none.
        low: Lower end of its interval.
        high: Upper end.
    """

    datasets: list[str]
    names: list[str]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def compute(datasets: Sequence[DatasetComparison]) -> Scores:
    """Gather the scores."""
    names = list(dict.fromkeys(name for d in datasets for name in d.families))
    table = np.full((3, len(datasets), len(names)), np.nan)
    for i, dataset in enumerate(datasets):
        for name in dataset.families:
            metrics = dataset.row(name).metrics
            if "score" in metrics:
                table[:, i, names.index(name)] = metrics["score"], *metrics["score_ci"]
    return Scores([d.data.name for d in datasets], names, *table)


def plot(result: Scores, colours: dict[str, str], ax) -> None:
    """One line per dataset, one dot with its interval per tokenizer; left of 1 is better."""
    count = max(len(result.names), 1)
    for n, name in enumerate(result.names):
        y = np.arange(len(result.datasets)) + (n - (count - 1) / 2) * min(0.22, 0.7 / count)
        spread = [result.value[:, n] - result.low[:, n], result.high[:, n] - result.value[:, n]]
        ax.errorbar(
            result.value[:, n], y, xerr=np.maximum(spread, 0), fmt="o", label=name, capsize=2,
            color=colours[name], markersize=6, linewidth=1.6,
        )  # fmt: skip
    ax.axvline(1, color=FAST, linewidth=1.4)
    ax.set_xscale("log")
    low, high = np.nanmin(result.low, initial=0.5), np.nanmax(result.high, initial=1.2)
    ticks = [t for t in TICKS if low / 2 < t < high * 2]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.set_xticks([], minor=True)
    ax.set_yticks(range(len(result.datasets)), result.datasets)
    ax.set(ylim=(len(result.datasets) - 0.5, -0.5), xlabel="error relative to FAST at equal bits")
    ax.grid(axis="x", color=GRID)
