"""The semantic measurements as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from analysis.report import figure
from analysis.report_tables import between, cell_html, heading, table
from analysis.rows import Row
from analysis.semantics import figures, nearest
from analysis.semantics.columns import COLUMNS, R1, WITH_INTERVAL
from analysis.semantics.nearest import Frame, Query
from analysis.semantics.result import Study
from analysis.semantics.retrieval import SHOWN
from analysis.semantics.text import facts, notes
from analysis.style import CSS_VARIABLES

RETRIEVAL_NOTE = (
    "From a chunk's codes a ridge probe predicts the teacher's features of its first and last "
    "frame; the gallery's windows are ranked by the cosine in whitened features. Shaded: 95 % "
    "intervals by resampling held-out episodes. Lines across: two small networks trained on the "
    "continuous chunk, the proprio anchor, and both, means over several trainings."
)
SKILL_NOTE = (
    "How much of the change from a chunk's first picture to the one right after it is predicted, "
    "from the first picture and all codes. 0: the picture stands still."
)
STABILITY_NOTE = "Edit distance between the tokens of a chunk and of the same chunk with noise."
PRICE_NOTE = "Every prefix of the tokens decodes; held-out windows, scored space."
PROBE_NOTE = "What a linear probe reads off all codes; dotted: always naming the largest class."
LATENT_NOTE = "Latents before quantisation along their first two principal axes, a dot per window."
NEAREST_NOTE = (
    "Left, the last frame that a held-out chunk really ended with; beside it the last frames of "
    "the three windows that its codes rank first. Framed: the chunk's own. The queries are spread "
    "evenly over the gallery, not chosen."
)


def write(studies: Sequence[Study], folder: Path) -> Path:
    """Write index.html."""
    path = folder / "index.html"
    path.write_text(render(studies), encoding="utf-8")
    return path


def render(studies: Sequence[Study]) -> str:
    """The page."""
    names = ", ".join(study.name for study in studies)
    body = ["<h1>What the codes know about the pictures</h1>", *sections(studies)]
    template = Template(files("analysis").joinpath("templates/compare.html").read_text("utf-8"))
    return template.substitute(title=escape(f"Semantics of codes on {names}"), body="\n".join(body))


def sections(studies: Sequence[Study]) -> list[str]:
    """What the page shows of each dataset, and how to read it."""
    colours = figures.colours_of(studies)
    return [*(_study(study, colours) for study in studies), _closing()]


def _study(study: Study, colours: dict[str, str]) -> str:
    parts = [f"<h2>{escape(study.name)}</h2>", f'<p class="facts">{escape(facts(study))}.</p>']
    parts += [f'<p class="note">{escape(note)}.</p>' for note in notes(study)]
    if not study.subjects:
        return "\n".join(parts)
    parts += [_tiles(study), "<h3>Retrieval: whose pictures are these?</h3>"]
    parts.append(figure(figures.retrieval_figure(study, colours), RETRIEVAL_NOTE))
    parts += ["<h3>What the codes find</h3>", _gallery(study)]
    parts += ["<h3>What comes next, stability, price</h3>", _pairs(study, colours)]
    parts += ["<h3>Latents</h3>", figure(figures.latent_figure(study), LATENT_NOTE)]
    parts += ["<h3>All figures</h3>", _table(study, colours)]
    return "\n".join(parts)


def _tiles(study: Study) -> str:
    """The headline of every tokenizer: its first level, and all its codes."""
    tiles = []
    for name in study.subjects:
        rows = [row for row in study.rows if row.family == name]
        first = min(rows, key=lambda row: row.metrics["tokens_mean"])
        tiles += [_tile(first, name), _tile(study.row(name), name)]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(row: Row, name: str) -> str:
    tokens = row.metrics["tokens_mean"]
    against = ""
    if "retrieval_r1_times_plain" in row.metrics:
        against = f"<br>{row.metrics['retrieval_r1_times_plain']:.2f}× the plain tokenizer"
    return (
        f'<div class="tile"><b>{row.metrics["retrieval_r1"]:.2f}</b><span>R@1{between(row, R1)}'
        f"<br>{escape(name)}, {tokens:.0f} tokens{against}</span></div>"
    )


def _pairs(study: Study, colours: dict[str, str]) -> str:
    drawn = [
        figure(figures.skill_figure(study, colours), SKILL_NOTE),
        figure(figures.stability_figure(study, colours), STABILITY_NOTE),
        figure(figures.price_figure(study, colours), PRICE_NOTE),
    ]
    told = figures.label_figure(study, colours)
    drawn += [figure(told, PROBE_NOTE)] if told else []
    return f'<div class="pair">{"".join(drawn)}</div>'


def _gallery(study: Study) -> str:
    results = {name: study.probed(name).retrieval for name in study.subjects}
    queries = nearest.compute(study.data, results)
    blank = "<th></th>" * (SHOWN - 1)
    headings = "".join(f"<th>{escape(name)}</th>{blank}" for name in results)
    lines = "".join(_query(query) for query in queries)
    pictures = (
        f'<div class="scroll plainly"><table class="frames"><thead><tr><th>really</th>{headings}'
        f"</tr></thead><tbody>{lines}</tbody></table></div>"
    )
    return f"<figure>{pictures}<figcaption>{NEAREST_NOTE}</figcaption></figure>"


def _query(query: Query) -> str:
    cells = [_picture(query.truth)]
    for found in query.found.values():
        cells += [_picture(frame) for frame in found]
    return f"<tr>{''.join(cells)}</tr>"


def _picture(frame: Frame) -> str:
    own = ' class="own"' if frame.own else ""
    return f'<td{own}><img src="{frame.address}" alt="" title="{frame.place}"></td>'


def _table(study: Study, colours: dict[str, str]) -> str:
    columns = [c for c in COLUMNS if any(c.metric in row.metrics for row in study.rows)]
    lines, family = [], None
    for row in study.rows:
        gap = ' class="gap"' if family not in (None, row.family) else ""
        family = row.family
        colour = CSS_VARIABLES.get(colours.get(row.family, ""), "transparent")
        swatch = f'<span class="swatch" style="background:{colour}"></span>'
        cells = "".join(cell_html(row, column, WITH_INTERVAL) for column in columns)
        lines.append(f"<tr{gap}><td>{swatch}{escape(row.name)}</td>{cells}</tr>")
    return table("<th>row</th>" + "".join(heading(column) for column in columns), lines)


def _closing() -> str:
    meanings = "".join(
        f"<li><b>{escape(column.heading)}</b>: {escape(column.meaning)}</li>" for column in COLUMNS
    )
    return (
        f"<h2>How to read this</h2><ul class='note'>{meanings}</ul>"
        '<p class="note">Every probe is a ridge regression: retrieval reads the tokens alone, as a '
        "language model meets them, the others what the tokens stand for as well. They are fitted "
        "on training episodes; strengths are chosen on validation episodes inside them. "
        "Intervals, all of 95 % by resampling held-out episodes, are in "
        "<code>semantics.json</code>.</p>"
    )
