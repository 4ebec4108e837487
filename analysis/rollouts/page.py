"""Runs as one page: how much is solved, where attempts end, what it looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from analysis.bootstrap import Estimate
from analysis.report import figure
from analysis.report_tables import table
from analysis.rollouts import figures, layers, ways_section
from analysis.rollouts.films import strip
from analysis.rollouts.runs import Checkpoint, Result, Run, SuiteRun
from analysis.rollouts.ways import WaysRun

STYLE = """<style>
.strip { margin: 10px 0 16px; } .strip > a { display: flex; gap: 4px; }
.strip img { flex: 1 1 0; min-width: 0; width: 16%; border-radius: 6px; }
.strip span { color: var(--muted); font-size: 13.5px; }
td .bar { display: block; height: 4px; border-radius: 2px; margin-top: 2px; margin-left: auto;
          background: var(--series-0); opacity: 0.75; }
a { color: var(--series-0); }
</style>"""
CURVE_NOTE = (
    "Averages over tasks; bands are 95 % intervals: Wilson's for success, for progress by "
    "resampling the trajectories of every task."
)
STAGE_NOTE = (
    "The stage in which each attempt ended, by the rubric of its task; a stage opens when the one "
    "before it is complete. Tasks with a star were never demonstrated."
)


def write(runs: Sequence[Run], folder: Path) -> Path:
    """Write index.html."""
    body = [STYLE, "<h1>Rollouts</h1>"]
    for run in runs:
        if isinstance(run, SuiteRun):
            body.append(suite_section(run, folder))
        elif isinstance(run, WaysRun):
            body.append(ways_section.section(run))
        else:
            body.append(layers.section(run, folder))
    template = Template(files("analysis").joinpath("templates/compare.html").read_text("utf-8"))
    path = folder / "index.html"
    text = template.substitute(title="Rollouts", body="\n".join(body))
    path.write_text(text, encoding="utf-8")
    return path


def suite_section(run: SuiteRun, folder: Path) -> str:
    """A suite, or rollouts."""
    last = run.checkpoints[-1]
    attempts = sum(result.count for c in run.checkpoints for result in c.tasks.values())
    facts = f"{run.title}; {attempts} attempts in all."
    parts = [f"<h2>{escape(run.name)}</h2>", f'<p class="facts">{escape(facts)}</p>', tiles(last)]
    if len(run.checkpoints) > 1:
        parts.append(figure(figures.curve(run), CURVE_NOTE))
    parts.append(results_table(run))
    if any(result.stages for result in last.tasks.values()):
        drawn = figures.stages(last, run.unseen)
        parts += [f"<h3>Where attempts end: {escape(last.name)}</h3>", figure(drawn, STAGE_NOTE)]
    return "\n".join([*parts, *films(last, run.unseen, folder)])


def tiles(last: Checkpoint) -> str:
    """The averages of the last checkpoint."""
    found = []
    for name, result in last.averages.items():
        told = [f"{name}: {result.solved} of {result.count} solved"]
        if result.progress is not None:
            told.append(f"task progress {result.progress.value:.0f} of 100")
        lines = "".join(f"<span>{escape(line)}</span>" for line in told)
        found.append(f'<div class="tile"><b>{result.success.value:.0%}</b>{lines}</div>')
    return f'<div class="tiles">{"".join(found)}</div>'


def results_table(run: SuiteRun) -> str:
    """Success and progress of every task and checkpoint, the averages last."""
    names = [escape(checkpoint.name) for checkpoint in run.checkpoints]
    columns = "".join(f"<th>{name}<br>success</th><th>progress</th>" for name in names)
    head = f"<th>task</th>{columns}"
    lines = []
    for task in run.checkpoints[-1].tasks:
        note = f"<small>unseen: {escape(run.unseen[task])}</small>" if task in run.unseen else ""
        cells = "".join(_cells(c.tasks[task]) for c in run.checkpoints)
        lines.append(f"<tr><td>{escape(task.removesuffix('-v3'))}{note}</td>{cells}</tr>")
    for number, group in enumerate(run.checkpoints[-1].averages):
        cells = "".join(_cells(c.averages[group]) for c in run.checkpoints)
        style = "whole gap" if number == 0 else "whole"
        lines.append(f'<tr class="{style}"><td>{escape(group)}</td>{cells}</tr>')
    return table(head, lines)


def _cells(result: Result) -> str:
    success = Estimate(*(100 * end for end in result.success))
    progress = "<td></td>" if result.progress is None else _cell(result.progress)
    return _cell(success, "%") + progress


def _cell(found: Estimate, unit: str = "") -> str:
    value, low, high = found
    bar = f'<span class="bar" style="width:{max(value, 1):.0f}%"></span>'
    return f"<td>{value:.0f}{unit}<small>{low:.0f} to {high:.0f}</small>{bar}</td>"


def films(checkpoint: Checkpoint, unseen: Mapping[str, str], folder: Path) -> list[str]:
    """A strip of the first attempt of every task that was filmed."""
    strips = []
    for task, videos in checkpoint.films.items():
        for video in videos[:1]:
            mark = " (unseen)" if task in unseen else ""
            strips.append(strip(video, folder, f"{task.removesuffix('-v3')}{mark}"))
    strips = [found for found in strips if found]
    return [f"<h3>Attempts: {escape(checkpoint.name)}</h3>", *strips] if strips else []
