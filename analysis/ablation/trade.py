"""What semantics cost: retrieval over the error at equal bits, a dot per recipe.

Recipes lie close together, so their names stand in a column beside the plot, in the order of the
dots, each with a line to its dot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.style import GRID, MUTED

LINE = 0.052
"""Height of a name, as a share of the plot's."""
HEADROOM = 1.08
TICKS = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.2, 1.5, 2, 3, 5, 10, 20, 50])


@dataclass(frozen=True)
class Trade:
    """One entry per recipe.

    Attributes:
        names: [n].
        cost: [n] error over the plain recipe's at equal bits.
        found: [n] share of the pictures found.
        spread: [n] of that over seeds.
        chance: Share that a guess finds.
    """

    names: list[str]
    cost: np.ndarray
    found: np.ndarray
    spread: np.ndarray
    chance: float


def plot(result: Trade, colours: Sequence[str], title: str, ax) -> None:
    """Dots, and names to the right of the plot."""
    top = HEADROOM * max((result.found + result.spread).max(), result.chance)
    heights = apart(result.found / top, LINE)
    for n, name in enumerate(result.names):
        x, y, colour = result.cost[n], result.found[n], colours[n]
        beside = {"xytext": (1.03, heights[n]), "textcoords": "axes fraction", "va": "center"}
        arrow = {"arrowstyle": "-", "color": GRID, "linewidth": 0.8, "shrinkB": 4}
        ax.annotate(name, (x, y), color=colour, fontsize=8, arrowprops=arrow, **beside)
        bars = {"yerr": result.spread[n], "markersize": 7, "capsize": 2, "linewidth": 1.2}
        ax.errorbar(x, y, fmt="o", color=colour, **bars)
    ax.axhline(result.chance, color=MUTED, linewidth=1.0, linestyle=":")
    ax.set_xscale("log")
    ax.margins(x=0.1)
    ticks = TICKS[(result.cost.min() / 1.1 < TICKS) & (result.cost.max() * 1.1 > TICKS)]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="MSE over the plain tokenizer's at equal bits", title=title, ylim=(0, top))
    ax.grid(color=GRID)


def apart(wanted: np.ndarray, least: float) -> np.ndarray:
    """Heights near the wanted ones, in their order, at least so far apart and not below 0."""
    order = np.argsort(wanted, kind="stable")
    placed = np.asarray(wanted, float).copy()
    for before, here in zip(order[:-1], order[1:], strict=True):
        placed[here] = max(placed[here], placed[before] + least)
    excess = max(0.0, float(placed.max(initial=0.0)) - 1)
    limit = placed[order[-1]] - excess if len(order) else 0.0
    for here in order[::-1]:
        placed[here] = min(placed[here], limit)
        limit = placed[here] - least
    return placed
