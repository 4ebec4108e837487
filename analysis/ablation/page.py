"""The ablation as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from analysis.ablation import figures
from analysis.ablation.columns import (
    COLUMNS,
    R1,
    R1_FIRST,
    differs,
    ends,
    facts,
    is_comparison,
    notes,
    text,
)
from analysis.ablation.comparison import Ablation
from analysis.columns import Column
from analysis.report import figure
from analysis.report_tables import heading, table
from analysis.rows import Row
from analysis.style import CSS_VARIABLES
from tokenizer_training.ablation.recipes import FULL, PLAIN

TRADE_NOTE = (
    "Up: more pictures found. Right: more error, at as many bits. Bars are the spread over seeds; "
    "dotted: chance. What the visual terms buy is the way up from the plain tokenizer; what they "
    "cost is the way to the right."
)
BARS_NOTE = (
    "Bars: means over seeds, each with its 95 % interval by resampling held-out episodes; dots: "
    "single seeds. WER: lower is better."
)
SIZES_NOTE = (
    "One size turned, everything else as in <code>full</code>. A codebook is never larger than a "
    "quarter of the windows it is fitted on: it stands where it came out."
)


def write(ablations: Sequence[Ablation], folder: Path) -> Path:
    """Write index.html."""
    path = folder / "index.html"
    path.write_text(render(ablations), encoding="utf-8")
    return path


def render(ablations: Sequence[Ablation]) -> str:
    """The page."""
    names = ", ".join(ablation.dataset for ablation in ablations)
    body = ["<h1>What each part of the recipe is worth</h1>"]
    body += [_dataset(ablation) for ablation in ablations]
    body.append(_closing())
    template = Template(files("analysis").joinpath("templates/compare.html").read_text("utf-8"))
    return template.substitute(title=escape(f"Ablation on {names}"), body="\n".join(body))


def _dataset(ablation: Ablation) -> str:
    parts = [
        f"<h2>{escape(ablation.dataset)}</h2>",
        f'<p class="facts">{escape(facts(ablation))}.</p>',
    ]
    parts += [f'<p class="note">{escape(note)}.</p>' for note in notes(ablation)]
    parts.append(_tiles(ablation))
    drawn = [
        ("What semantics cost", figures.trade_figure(ablation), TRADE_NOTE),
        ("Recipe by recipe", figures.bars_figure(ablation), BARS_NOTE),
        ("Sizes", figures.sizes_figure(ablation), SIZES_NOTE),
    ]
    for title, drawing, note in drawn:
        if drawing is not None:
            parts += [f"<h3>{title}</h3>", figure(drawing, note)]
    parts += ["<h3>All figures</h3>", _table(ablation)]
    return "\n".join(parts)


def _tiles(ablation: Ablation) -> str:
    """The full recipe beside the plain one."""
    rows = {row.name: row for row in ablation.rows}
    if FULL not in rows or PLAIN not in rows:
        return ""
    tiles = [_tile(rows[FULL], rows[PLAIN], column) for column in (R1_FIRST, R1)]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(full: Row, plain: Row, column: Column) -> str:
    value, other = full.metrics[column.metric], plain.metrics[column.metric]
    times = f", {value / other:.1f}× as many" if other else ""
    return (
        f'<div class="tile"><b>{value:.2f}</b><span>{escape(column.heading)}, full<br>'
        f"plain: {other:.2f}{times}</span></div>"
    )


def _table(ablation: Ablation) -> str:
    columns = [c for c in COLUMNS if any(c.metric in row.metrics for row in ablation.rows)]
    lines = []
    for row, group in zip(ablation.rows, ablation.groups, strict=True):
        colour = CSS_VARIABLES[figures.colour_of(row.name)]
        swatch = f'<span class="swatch" style="background:{colour}"></span>'
        name = f'<td title="{escape(differs(group))}">{swatch}{escape(row.name)}</td>'
        what = f'<td class="text">{escape(differs(group))}</td>'
        lines.append(f"<tr>{name}{''.join(_cell(row, c) for c in columns)}{what}</tr>")
    headings = "<th>recipe</th>" + "".join(heading(column) for column in columns)
    return table(headings + '<th class="text">what differs</th>', lines)


def _cell(row: Row, column: Column) -> str:
    value, span = text(row, column), ends(row, column)
    if span and is_comparison(column):
        return f"<td>{value}<small>{span}</small></td>"
    return f'<td title="95 % interval {span}">{value}</td>' if span else f"<td>{value}</td>"


def _closing() -> str:
    meanings = "".join(
        f"<li><b>{escape(column.heading)}</b>: {escape(column.meaning)}</li>" for column in COLUMNS
    )
    return (
        f"<h2>How to read this</h2><ul class='note'>{meanings}</ul>"
        '<p class="note">Every recipe is trained for the same number of steps, on the same '
        "training episodes; a seed decides initialisation, codebooks, sampling and dropout, not "
        "the split. All runs are measured against the same teacher's features, whichever teacher "
        "they were trained with. All figures are in <code>ablation.json</code>.</p>"
    )
