"""The rows as a table and a figure: one page, and Markdown for docs/experiments.md."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from analysis.bootstrap import Estimate
from analysis.report import figure
from analysis.report_tables import table
from analysis.tokens import figure as drawing
from analysis.tokens.study import ArmResult, TokenStudy
from vla.ablation.arms import NONE, PLAIN

NOTE = (
    "Success of the flow head from fresh starts, the same for all; bars are 95 % intervals by "
    "resampling seeds and starts, dots are seeds. Differences are between pairs: the same seed and "
    "the same start."
)
REFERENCES = (PLAIN, NONE)


def write(studies: Sequence[TokenStudy], folder: Path) -> Path:
    """Write index.html."""
    body = ["<h1>What action tokens are worth</h1>", *map(_section, studies)]
    template = Template(files("analysis").joinpath("templates/compare.html").read_text("utf-8"))
    path = folder / "index.html"
    title = "Action tokens swapped"
    path.write_text(template.substitute(title=title, body="\n".join(body)), encoding="utf-8")
    return path


def write_markdown(studies: Sequence[TokenStudy], folder: Path) -> Path:
    """Write table.md."""
    path = folder / "table.md"
    path.write_text(render(studies) + "\n", encoding="utf-8")
    return path


def render(studies: Sequence[TokenStudy]) -> str:
    """All datasets, one Markdown table each."""
    return "\n\n".join(_markdown(study) for study in studies)


def _section(study: TokenStudy) -> str:
    headings, lines = _cells(study)
    rows = ["<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>" for cells in lines]
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    parts = [f"<h2>{escape(study.dataset)}</h2>", f'<p class="facts">{escape(_facts(study))}.</p>']
    return "\n".join([*parts, figure(drawing.draw(study), NOTE), table(head, rows)])


def _markdown(study: TokenStudy) -> str:
    headings, lines = _cells(study)
    rows = [headings, ["---"] * len(headings), *lines]
    told = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([f"**{study.dataset}**: {_facts(study)}.", "", *told])


def _facts(study: TokenStudy) -> str:
    tasks = ", ".join(study.tasks)
    return f"{study.steps} steps per run; {study.starts} starts each of {tasks}"


def _cells(study: TokenStudy) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells of every arm."""
    references = [name for name in REFERENCES if name in {arm.name for arm in study.arms}]
    headings = ["tokens", "per chunk", "seeds", "solved", "± between seeds"]
    headings += [f"more than {name}" for name in references]
    headings += [*study.tasks, "questions right", "by the usual answer"]
    return headings, [_line(arm, study.tasks, references) for arm in study.arms]


def _line(arm: ArmResult, tasks: Sequence[str], references: Sequence[str]) -> list[str]:
    words = f"{arm.tokens} of {arm.codebook_size}" if arm.tokens else "none"
    spread = "" if arm.spread is None else f"{100 * arm.spread:.1f}"
    cells = [arm.name, words, str(len(arm.seeds)), _share(arm.success), spread]
    cells += [_points(arm.gains[name]) if name in arm.gains else "" for name in references]
    cells += [f"{arm.by_task[task].value:.0%}" for task in tasks]
    answered = f"{np.mean(arm.vqa):.1%}" if arm.vqa else ""
    return [*cells, answered, "" if arm.majority is None else f"{arm.majority:.1%}"]


def _share(found: Estimate) -> str:
    return f"{found.value:.1%} [{found.low:.0%}, {found.high:.0%}]"


def _points(found: Estimate) -> str:
    value, low, high = (100 * end for end in found)
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
