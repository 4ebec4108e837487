"""What every kind of tokens lets the flow head solve, as one figure."""

from __future__ import annotations

import numpy as np

from analysis import svg
from analysis.style import GRID, MUTED, SERIES
from analysis.tokens.study import TokenStudy
from vla.ablation.arms import ALIGNED, FAST, NONE, PLAIN

COLOURS = {ALIGNED: SERIES[0], PLAIN: SERIES[2], FAST: SERIES[1], NONE: SERIES[7]}
OTHER = SERIES[5]


def draw(study: TokenStudy) -> str:
    """Bars: success over all tasks, and task by task."""
    panels = ["all tasks", *study.tasks] if len(study.tasks) > 1 else list(study.tasks)

    def paint(figure, axes) -> None:
        for panel, ax in zip(panels, axes[0], strict=True):
            plot(study, panel, ax)

    size = (2.4 * len(panels) + 1.6, 1.2 + 0.42 * len(study.arms))
    return svg.draw(f"{study.dataset}: success", size, paint, 1, len(panels), sharey=True)


def plot(study: TokenStudy, panel: str, ax) -> None:
    """One panel: a task's name, or anything else for all tasks together."""
    places = np.arange(len(study.arms))
    found = [arm.by_task.get(panel, arm.success) for arm in study.arms]
    values = np.array([estimate.value for estimate in found])
    spread = [
        np.maximum(values - [estimate.low for estimate in found], 0),
        np.maximum([estimate.high for estimate in found] - values, 0),
    ]
    colours = [COLOURS.get(arm.name, OTHER) for arm in study.arms]
    ax.barh(places, values, color=colours, height=0.62, alpha=0.8)
    ax.errorbar(values, places, xerr=spread, fmt="none", ecolor=MUTED, capsize=2)
    if panel not in study.tasks:
        for place, arm in zip(places, study.arms, strict=True):
            ax.plot(arm.by_seed, np.full(len(arm.by_seed), place), "o", color=MUTED, markersize=3)
    ax.set(title=panel, xlim=(0, 1), ylim=(len(places) - 0.4, -0.6))
    ax.set_yticks(places, [arm.name for arm in study.arms])
    ax.grid(axis="x", color=GRID)
