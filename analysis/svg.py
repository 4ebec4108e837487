"""Figures as inline SVG that follows the page's light or dark theme."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape

from analysis.style import CSS_VARIABLES, RC


def draw(
    label: str,
    size: tuple[float, float],
    paint: Callable,
    rows: int = 1,
    columns: int = 1,
    **layout,
) -> str:
    """Draw a figure and return it as an `<svg>` element.

    Args:
        label: What the figure shows, for screen readers; also keeps its ids apart from others'.
        size: Inches.
        paint: Called with (figure, array of axes [rows, columns]).
        rows: Rows of axes.
        columns: Columns of axes.
        **layout: Passed to `Figure.subplots`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**RC, "svg.hashsalt": label}):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure, figure.subplots(rows, columns, squeeze=False, **layout))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _themed(buffer.getvalue(), label)


def _themed(text: str, label: str) -> str:
    text = text[text.index("<svg") :]
    for sentinel, variable in CSS_VARIABLES.items():
        text = text.replace(sentinel, variable)
    text = re.sub(r"font: (?P<size>[\d.]+)px [^;\"]*", r"font-size: \g<size>px", text)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
