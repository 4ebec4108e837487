"""The ablation as a Markdown table, to be pasted into docs/experiments.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.ablation.columns import (
    COLUMNS,
    IN_MARKDOWN,
    differs,
    ends,
    facts,
    is_comparison,
    notes,
    text,
)
from analysis.ablation.comparison import Ablation
from analysis.columns import Column
from analysis.rows import Row


def write(ablations: Sequence[Ablation], folder: Path) -> Path:
    """Write table.md."""
    path = folder / "table.md"
    path.write_text(render(ablations) + "\n", encoding="utf-8")
    return path


def render(ablations: Sequence[Ablation]) -> str:
    """All datasets, one table each."""
    return "\n\n".join(map(_dataset, ablations))


def _dataset(ablation: Ablation) -> str:
    columns = [column for column in COLUMNS if column.metric in IN_MARKDOWN]
    headings = ["recipe", "what differs", *(column.heading for column in columns)]
    lines = [_line(headings), _line(["---"] * len(headings))]
    for row, group in zip(ablation.rows, ablation.groups, strict=True):
        cells = [_cell(row, column) for column in columns]
        lines.append(_line([f"`{group.name}`", differs(group), *cells]))
    remarks = [f"{note}." for note in notes(ablation)]
    return "\n".join([f"**{ablation.dataset}**: {facts(ablation)}.", "", *lines, *remarks])


def _cell(row: Row, column: Column) -> str:
    span = ends(row, column) if is_comparison(column) else ""
    return text(row, column) + (f" [{span}]" if span else "")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
