"""The section of a policy in its four layers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from analysis.report import figure
from analysis.report_tables import table
from analysis.rollouts import figures
from analysis.rollouts.films import strip
from analysis.rollouts.runs import EvalRun
from vla.deploy.settings import speed_in_words
from vla.evaluation.layers.open_loop import HOLDING, MEAN, POLICY
from vla.evaluation.layers.settings import MOVING

TITLES = {
    "sanity": "1 · Offline sanity",
    "open_loop": "2 · Open loop on held-out episodes",
    "low_speed": "3 · Closed loop, low speed",
    "full_speed": "4 · Closed loop, full speed",
}
OPEN_LOOP_NOTE = (
    "Mean absolute error of predicted chunks against recorded ones, frame by frame, beside a robot "
    "that holds its state and one that always does the mean of all training chunks."
)


def section(run: EvalRun, folder: Path) -> str:
    """Every layer that was reached."""
    parts = [f"<h2>{escape(run.name)}</h2>", tiles(run)]
    for name, row in run.layers.items():
        parts += [f"<h3>{TITLES[name]}</h3>", checks(row["checks"])]
        if name == "sanity" and (heeds := row["figures"].get("heeds")):
            parts.append(_heeds(heeds))
        elif name == "open_loop":
            parts.append(figure(figures.open_loop(row["figures"]), OPEN_LOOP_NOTE))
            parts.append(errors(row["figures"]))
        elif name in MOVING:
            speed = speed_in_words(row["figures"]["speed"])
            parts.append(f'<p class="note">Driven at {speed}.</p>')
            parts.append(trials(row["figures"]["trials"]))
            parts += films(run, name, row["figures"]["trials"], folder)
    return "\n".join(parts)


def tiles(run: EvalRun) -> str:
    """Passed or not, layer by layer."""
    found = []
    for name, title in TITLES.items():
        row = run.layers.get(name)
        state = "not reached" if row is None else ("passed" if row["passed"] else "not passed")
        style = {"passed": "good", "not passed": "bad"}.get(state, "")
        found.append(f'<div class="tile"><b class="{style}">{state}</b><span>{title}</span></div>')
    return f'<div class="tiles">{"".join(found)}</div>'


def checks(rows: list[Mapping[str, Any]]) -> str:
    """The checks of a layer."""
    lines = []
    for row in rows:
        mark = "passed" if row["passed"] else "not passed"
        style = "good" if row["passed"] else "bad"
        cells = f'<td class="text">{escape(row["detail"])}</td><td class="{style}">{mark}</td>'
        lines.append(f"<tr><td>{escape(row['name'])}</td>{cells}</tr>")
    return table('<th>check</th><th class="text">figure and gate</th><th></th>', lines)


def _heeds(heeds: Mapping[str, float]) -> str:
    told = " and ".join(f"{value:.2f} with other {name}" for name, value in heeds.items())
    return (
        f'<p class="note">Answers change by {told}, in units of the channels\' training spread; 0 '
        "is a policy that does not look.</p>"
    )


def errors(found: Mapping[str, Any]) -> str:
    """Error in model space and saturation."""
    space, names = found["model_space"], {POLICY: "policy", HOLDING: "holding", MEAN: "mean action"}
    told = ", ".join(f"{names[rival]} {space[rival]:.3f}" for rival in names)
    edges = ", ".join(
        f"{escape(group)} {share:.0%} (recorded {found['recorded_saturation'][group]:.0%})"
        for group, share in found["saturation"].items()
    )
    return (
        f'<p class="note">{found["windows"]} windows of {found["horizon"]} frames from '
        f"{len(found['episodes'])} held-out episodes of {escape(found['dataset'])}. Mean error in "
        f"model space: {told}. Values at the edge of the training range: {edges}.</p>"
    )


def trials(rows: list[Mapping[str, Any]]) -> str:
    """A line for every trial."""
    heads = ("trial", "ended", "solved", "progress", "stage", "seconds", "missed", "clipped")
    lines = []
    for row in rows:
        solved = {True: "yes", False: "no", None: "not judged"}[row["success"]]
        progress = "" if row["progress"] is None else f"{row['progress']:.0f}"
        cells = [row["name"], row["ending"], solved, progress, row["stage"] or ""]
        cells += [f"{row['seconds']:.1f}", str(row["missed_deadlines"]), str(row["clipped"])]
        lines.append("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
    return table("".join(f"<th>{head}</th>" for head in heads), lines)


def films(run: EvalRun, layer: str, rows: list[Mapping[str, Any]], folder: Path) -> list[str]:
    """A strip of each trial, by its first camera."""
    strips = []
    for row in rows:
        for video in row["videos"][:1]:
            path = run.folder / layer / row["name"] / "videos" / Path(video).name
            if path.is_file():
                strips.append(strip(path, folder, f"{row['name']}: {row['ending']}"))
    return strips
