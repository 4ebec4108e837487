"""The transfer measurements as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from analysis import rate_distortion, svg
from analysis.report import figure
from analysis.report_tables import cell_html, heading, table
from analysis.style import SERIES
from analysis.transfer.case import Case
from analysis.transfer.study import Transfer
from analysis.transfer.text import (
    COLUMNS,
    JOINT_HEADINGS,
    WITH_INTERVAL,
    fast_failures,
    joint_cells,
    notes,
)

PALETTE = (SERIES[0], SERIES[3], SERIES[2], SERIES[7], SERIES[4])
ACROSS = 3
CURVE_NOTE = (
    "Every prefix of our tokens is a point of its curve. Scored space of the training windows "
    "throughout. FAST's hollow points are off its Pareto front; chunks that it cannot decode "
    "count as zeros."
)
CASES_NOTE = (
    "The first case is the use that the tokenizer and FAST were trained for. Resampled: positions "
    "and joints run straight between recorded frames, rotations turn steadily, switches keep the "
    "earlier value. A robot never trained on gets a linear path and statistics of its own from its "
    "training episodes, or a path from these statistics alone; codebooks stay as they are. "
    "Score: error relative to FAST at equal bits; “vs total” against the FAST whose encodings "
    "always decode where it was fitted."
)
JOINT_NOTE = (
    "Ratios of the joint tokenizer over the one trained on this robot alone, on the same windows; "
    "above 1 the joint one is worse."
)


def write(results: Sequence[Transfer], folder: Path) -> Path:
    """Write index.html."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(render(results), encoding="utf-8")
    return path


def render(results: Sequence[Transfer]) -> str:
    """The page."""
    names = ", ".join(result.data.name for result in results)
    body = [
        "<h1>Tokenizers where they were not trained</h1>",
        f'<p class="note">{CASES_NOTE}</p>',
        *map(_dataset, results),
    ]
    template = Template(files("analysis").joinpath("templates/compare.html").read_text("utf-8"))
    return template.substitute(title=escape(f"Transfer on {names}"), body="\n".join(body))


def _dataset(result: Transfer) -> str:
    parts = [f"<h2>{escape(result.data.name)}</h2>"]
    parts += [f'<p class="note">{escape(note)}.</p>' for note in notes(result)]
    if result.cases:
        parts += [_table(result.cases), figure(_curves(result), CURVE_NOTE)]
    if result.joints:
        parts += ["<h3>One tokenizer for several robots</h3>", _joint_table(result)]
    return "\n".join(parts)


def _table(cases: Sequence[Case]) -> str:
    lines = []
    for case in cases:
        for number, name in enumerate(case.families):
            row = case.row(name)
            cells = "".join(cell_html(row, column, WITH_INTERVAL) for column in COLUMNS)
            style = ' class="gap"' if number == 0 and lines else ""
            label = f'<td>{escape(case.name)}</td><td class="text">{escape(name)}</td>'
            lines.append(f"<tr{style}>{label}{cells}<td>{fast_failures(case)}</td></tr>")
    headings = '<th>case</th><th class="text">tokenizer</th>' + "".join(map(heading, COLUMNS))
    return table(f"{headings}<th>FAST fails</th>", lines)


def _joint_table(result: Transfer) -> str:
    lines = [
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in joint_cells(comparison)) + "</tr>"
        for comparison in result.joints
    ]
    headings = "".join(f"<th>{escape(text)}</th>" for text in JOINT_HEADINGS)
    return f'{table(headings, lines)}<p class="note">{JOINT_NOTE}</p>'


def _curves(result: Transfer) -> str:
    """Rate and distortion, a panel per case."""
    names = list(dict.fromkeys(name for case in result.cases for name in case.families))
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}
    across = min(len(result.cases), ACROSS)
    down = -(-len(result.cases) // across)

    def paint(drawing, axes) -> None:
        labels: dict = {}
        for case, ax in zip(result.cases, axes.flat):  # noqa: B905
            rate_distortion.plot(rate_distortion.compute(case.rows), colours, ax)
            ax.set(title=_broken(case.name), xlabel="bits per chunk", ylabel="MSE")
            handles, texts = ax.get_legend_handles_labels()
            labels |= dict(zip(texts, handles, strict=True))
        for ax in axes.flat[len(result.cases) :]:
            ax.set_visible(False)
        drawing.legend(labels.values(), labels.keys(), loc="outside upper center", ncols=4)

    size = (3.3 * across, 0.6 + 2.7 * down)
    return svg.draw(f"{result.data.name}: MSE over bits by case", size, paint, down, across)


def _broken(title: str, width: int = 34) -> str:
    """A title on several lines."""
    lines = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
