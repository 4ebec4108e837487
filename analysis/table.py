"""The comparison as text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.columns import COLUMNS, MODELLED, SCORES, TIME_REFERENCE, TIMES, Column
from analysis.compare import Comparison, DatasetComparison
from analysis.rows import Row

SHOWN = {"MSE", "tokens", "bits", "vs FAST", "AR bits", "AR vs FAST", "tokens vs FAST", "fails"}
SHOWN |= {"random fails", "used", "noise WER"}
PREFIXES_SHOWN = 8


def cell(row: Row, column: Column) -> str:
    """A metric as text, with its spread over fits where it has one; empty where there is none."""
    if column.metric not in row.metrics:
        return ""
    spread = row.metrics.get(f"{column.metric}_fit_spread")
    value = column.show(row.metrics[column.metric])
    return value if spread is None else f"{value} ± {column.show(spread)}"


def time_cell(row: Row, column: Column, reference: Row) -> str:
    """A time as a multiple of the reference row's."""
    if column.metric not in row.metrics:
        return ""
    return column.show(row.metrics[column.metric] / reference.metrics[column.metric])


def render(comparison: Comparison) -> str:
    """All datasets, one table each."""
    return "\n\n".join(_dataset(dataset) for dataset in comparison.datasets)


def _dataset(result: DatasetComparison) -> str:
    columns = _present(result, [column for column in COLUMNS if column.heading in SHOWN])
    scores = _present(result, (*SCORES, *MODELLED))
    reference = result.row(TIME_REFERENCE)
    lines = [["row", *(c.heading for c in (*columns, *TIMES, *scores))]]
    for row in _shown(result):
        times = [time_cell(row, column, reference) for column in TIMES]
        cells = [cell(row, column) for column in columns]
        lines.append([row.name, *cells, *times, *(with_interval(row, c) for c in scores)])
    data = result.data
    title = (
        f"{data.name}: {len(data.batch)} held-out windows of {data.horizon} x "
        f"{len(data.channels)}, episodes {list(data.split.held_out)} ({data.split_source})"
    )
    return "\n".join([title, aligned(lines), *result.notes()])


def _present(result: DatasetComparison, columns: Sequence[Column]) -> list[Column]:
    """Those of the columns that any row has a figure for."""
    return [c for c in columns if any(c.metric in row.metrics for row in result.rows)]


def with_interval(row: Row, column: Column) -> str:
    """A metric as text with its interval, where it has one."""
    if column.metric not in row.intervals:
        return cell(row, column)
    low, high = row.intervals[column.metric]
    return f"{cell(row, column)} [{column.show(low)}, {column.show(high)}]"


def _shown(result: DatasetComparison) -> list[Row]:
    """All rows but those that would flood a terminal: of many prefixes, a few."""
    rows = []
    for family in dict.fromkeys(row.family for row in result.rows):
        members = [row for row in result.rows if row.family == family]
        step = max(1, round(len(members) / PREFIXES_SHOWN))
        ours = family.removesuffix("~") in result.families
        rows += members[::step] if ours else members
    return [row for row in rows if row.kind != "yardstick"]


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as columns, the first line ruled off."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    texts = []
    for number, line in enumerate(lines):
        first = line[0].ljust(widths[0])
        rest = [text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)]
        texts.append("  ".join([first, *rest]).rstrip())
        if number == 0:
            texts.append("-" * (sum(widths) + 2 * len(widths) - 2))
    return "\n".join(texts)
