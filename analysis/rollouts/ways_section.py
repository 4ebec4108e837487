"""The section of ways to play chunks: a panel for each figure, and the table."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import NamedTuple

from analysis import svg
from analysis.bootstrap import Estimate
from analysis.report import figure
from analysis.report_tables import table
from analysis.rollouts.ways import Way, WaysRun
from analysis.style import GRID, SERIES

NOTE = (
    "Dots with 95 % intervals over starts (Wilson's for solved). Deadlines missed: control periods "
    "in which no new command came. Jump: |a<sub>k</sub> − 2a<sub>k−1</sub> + a<sub>k−2</sub>| "
    "where a new chunk begins, in normalised units; the dashes are the same within chunks, what a "
    "seam that nobody notices would have. Less is better, except of what was solved."
)


class Column(NamedTuple):
    """A figure of every way: its title, how it is read, and how it is written."""

    title: str
    read: Callable[[Way], Estimate | None]
    form: str


MISSED = Column("deadlines missed [%]", lambda way: _percent(way.missed), "{:.2f}")
JUMP = Column("jump", lambda way: way.jump, "{:.3f}")
RATIO = Column("of asynchronous", lambda way: way.ratio, "{:.2f}")
SOLVED = Column("solved [%]", lambda way: _percent(way.success), "{:.0f}")
SECONDS = Column("seconds", lambda way: way.seconds, "{:.2f}")
PANELS = (MISSED, JUMP, SOLVED, SECONDS)


def section(run: WaysRun) -> str:
    """The figure and the table."""
    head = f'<h2>{escape(run.name)}</h2><p class="facts">{escape(facts(run))}</p>'
    return "\n".join([head, figure(draw(run), NOTE), ways_table(run)])


def facts(run: WaysRun) -> str:
    """What was attempted, and how long a chunk took."""
    told = f"Ways to play chunks, from the same starts: {', '.join(run.tasks)}"
    if run.latency_s is None:
        return f"{told}. In real time."
    plain, guided = (1e3 * seconds for seconds in run.latency_s)
    return f"{told}. In simulated time a chunk takes {plain:.0f} ms, a guided one {guided:.0f} ms."


def draw(run: WaysRun) -> str:
    """A panel for each figure, a line for each way."""

    def paint(_, axes) -> None:
        for ax, column in zip(axes.flat, PANELS, strict=True):
            plot(run, column, ax)
        plot_inside(run, axes.flat[PANELS.index(JUMP)])
        axes.flat[PANELS.index(SOLVED)].set_xlim(right=103)

    label, size = f"{run.name}: ways to play chunks", (9.5, 1.0 + 0.4 * len(run.ways))
    return svg.draw(label, size, paint, columns=len(PANELS), sharey=True)


def plot(run: WaysRun, column: Column, ax) -> None:
    """One panel; a way that lacks the figure has no dot."""
    for place, way in enumerate(run.ways):
        if (found := column.read(way)) is not None:
            ax.plot([found.low, found.high], [place, place], color=SERIES[0], alpha=0.45)
            ax.plot(found.value, place, "o", color=SERIES[0], markersize=5, clip_on=False)
    ax.set_yticks(range(len(run.ways)), [_spaced(way.name) for way in run.ways])
    ax.set(title=column.title, ylim=(len(run.ways) - 0.5, -0.5))
    ax.set_xlim(left=0)
    ax.grid(color=GRID, axis="x")


def plot_inside(run: WaysRun, ax) -> None:
    """A dash for each way: the jump within chunks."""
    for place, way in enumerate(run.ways):
        if way.inside is not None:
            edges = [place - 0.3, place + 0.3]
            ax.plot([way.inside] * 2, edges, "--", color=SERIES[7], linewidth=1.2)


def ways_table(run: WaysRun) -> str:
    """A line for every way."""
    before, after = (MISSED, JUMP, RATIO), (SOLVED, SECONDS)
    titles = [*(c.title for c in before), "within chunks", *(c.title for c in after)]
    lines = []
    for way in run.ways:
        inside = "" if way.inside is None else JUMP.form.format(way.inside)
        cells = [*(_cell(way, c) for c in before), f"<td>{inside}</td>"]
        cells += [_cell(way, c) for c in after]
        count = f"<small>{way.solved} of {way.starts} solved</small>"
        lines.append(f"<tr><td>{escape(_spaced(way.name))}{count}</td>{''.join(cells)}</tr>")
    return table("<th>way</th>" + "".join(f"<th>{title}</th>" for title in titles), lines)


def _cell(way: Way, column: Column) -> str:
    if (found := column.read(way)) is None:
        return "<td></td>"
    value, low, high = (column.form.format(end) for end in found)
    return f"<td>{value}<small>{low} to {high}</small></td>"


def _percent(found: Estimate) -> Estimate:
    return Estimate(*(100 * end for end in found))


def _spaced(name: str) -> str:
    return name.replace("_", " ")
