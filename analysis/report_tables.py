"""The tables of the comparison page, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from analysis.columns import (
    BITS,
    COLUMNS,
    EPISODES,
    FAILURES,
    MODELLED,
    MSE,
    SCORES,
    TIME_REFERENCE,
    TIMES,
    TOKEN_RATIO_MAX,
    TOKENS,
    Column,
)
from analysis.compare import DatasetComparison
from analysis.group_errors import groups_of
from analysis.rows import Row
from analysis.style import CSS_VARIABLES
from analysis.table import cell, time_cell

HEADLINE = (EPISODES, *SCORES, *MODELLED, TOKEN_RATIO_MAX, TOKENS, BITS, MSE, FAILURES)
WITH_INTERVAL = (MSE, *SCORES, *MODELLED)


def headline_table(datasets: Sequence[DatasetComparison], colours: dict[str, str]) -> str:
    """One line per dataset and tokenizer."""
    shown = headline_columns(datasets)
    lines = []
    for dataset in datasets:
        for number, name in enumerate(dataset.families):
            row = dataset.row(name)
            cells = "".join(cell_html(row, column, WITH_INTERVAL) for column in shown)
            style = ' class="gap"' if number == 0 and lines else ""
            label = f'<td class="text">{_swatch(colours[name])}{escape(name)}</td>'
            lines.append(f"<tr{style}><td>{escape(dataset.data.name)}</td>{label}{cells}</tr>")
    headings = '<th>dataset</th><th class="text">tokenizer</th>'
    return table(headings + "".join(heading(column) for column in shown), lines)


def headline_columns(datasets: Sequence[DatasetComparison]) -> list[Column]:
    """The columns of the headline that any tokenizer has a figure for."""
    rows = [dataset.row(name) for dataset in datasets for name in dataset.families]
    return [c for c in HEADLINE if any(c.metric in row.metrics for row in rows)]


def full_table(result: DatasetComparison, colours: dict[str, str]) -> str:
    """Every row and metric of a dataset."""
    reference = result.row(TIME_REFERENCE)
    groups = [
        Column(g.metric, f"{g.name} ({g.unit})", lambda v: f"{v:.3g}", "mean unclipped error")
        for g in groups_of(result.data)
    ]
    lines, family = [], None
    for row in result.rows:
        if row.kind == "yardstick":
            continue
        classes = ["gap"] if family not in (None, row.family) else []
        classes += ["whole"] if row.name in result.families else []
        family = row.family
        ours = row.family.removesuffix("~")
        name = _swatch(colours[ours]) if ours in colours else ""
        cells = [cell_html(row, column, WITH_INTERVAL) for column in (*COLUMNS, *groups)]
        cells += [f"<td>{time_cell(row, column, reference)}</td>" for column in TIMES]
        style = f' class="{" ".join(classes)}"' if classes else ""
        lines.append(f"<tr{style}><td>{name}{escape(row.name)}</td>{''.join(cells)}</tr>")
    headings = "".join(heading(column) for column in (*COLUMNS, *groups, *TIMES))
    return table(f"<th>row</th>{headings}", lines)


def cell_html(row: Row, column: Column, with_interval: Sequence[Column]) -> str:
    """A cell; the interval stands below the value in some columns, else it shows on hovering."""
    text = cell(row, column)
    ends = row.intervals.get(column.metric)
    if not text or ends is None:
        return f"<td>{text}</td>"
    span = f"{column.show(ends[0])} – {column.show(ends[1])}"
    if column in with_interval:
        return f"<td>{text}<small>{span}</small></td>"
    return f'<td title="95 % interval {span}">{text}</td>'


def between(row: Row, column: Column) -> str:
    """`, low – high`, to go on with behind a value; nothing where it has no interval."""
    if column.metric not in row.intervals:
        return ""
    low, high = row.intervals[column.metric]
    return f", {column.show(low)} – {column.show(high)}"


def heading(column: Column) -> str:
    """A heading that tells its meaning on hovering."""
    return f'<th title="{escape(column.meaning)}">{escape(column.heading)}</th>'


def _swatch(colour: str) -> str:
    return f'<span class="swatch" style="background:{CSS_VARIABLES[colour]}"></span>'


def table(headings: str, lines: Sequence[str]) -> str:
    """A table that scrolls sideways where it is too wide."""
    return (
        f'<div class="scroll"><table><thead><tr>{headings}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
