"""One look for all figures: sentinel colours that the page maps to its light or dark theme."""

from __future__ import annotations

from typing import Any

TEXT, GRID, MUTED = "#010203", "#010204", "#010205"
SERIES = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216", "#010217", "#010218")
"""Drawn by matplotlib in these colours, replaced by CSS variables in the SVG (see `svg.py`)."""

FAST, TOTAL, BINS, YARDSTICK = SERIES[1], SERIES[6], SERIES[5], MUTED
TRAINED, CLOSED = (SERIES[0], SERIES[3], SERIES[7]), (SERIES[2], SERIES[4], SERIES[6])

CSS_VARIABLES = {
    TEXT: "var(--text)",
    GRID: "var(--grid)",
    MUTED: "var(--muted)",
    **{colour: f"var(--series-{i})" for i, colour in enumerate(SERIES)},
}

RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": TEXT,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "xtick.minor.visible": False,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
}


def number_ticks(axis) -> None:
    """Plain numbers at 1, 2 and 5 times the powers of ten of a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
