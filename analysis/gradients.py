"""How the terms of a policy's loss share its backbone, and whether they pull the same way.

Reads `gradients.jsonl`, which `rvq-vla train` leaves in its folder (`vla.training.gradients`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from analysis import svg
from analysis.report import figure
from analysis.report_tables import table
from analysis.style import GRID, MUTED, SERIES
from vla.training.gradients import read_rows

FILE = "gradients.jsonl"
LATE = 0.5
"""The part of a run that its medians are of: the last half."""
SHARE_NOTE = (
    "Share of each weighted term in the sum of the terms' gradient norms, in the weights of the "
    "vision-language expert, on one micro-batch at a time."
)
COSINE_NOTE = (
    "Cosine between the gradients of two terms: above 0 a step along one helps the other, at 0 "
    "they do not touch, below they are at odds. Unrelated gradients of many weights are near 0."
)


@dataclass(frozen=True)
class GradientRun:
    """What one run saw.

    Attributes:
        name: Of the run's folder.
        steps: [N] steps taken before each look.
        shares: Term -> [N].
        cosines: Pair of terms -> [N]; NaN where one of them had no gradient.
    """

    name: str
    steps: np.ndarray
    shares: dict[str, np.ndarray]
    cosines: dict[str, np.ndarray]

    def late(self, values: np.ndarray) -> float:
        """Median over the last half of the run; NaN where nothing was seen."""
        part = values[self.steps >= LATE * self.steps[-1]]
        part = part[~np.isnan(part)]
        return float(np.median(part)) if len(part) else float("nan")


def compute(folder: Path) -> GradientRun:
    """Read a run.

    Raises:
        FileNotFoundError: There is no such file in the folder.
        ValueError: It holds no look, or is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: give the folder of a `rvq-vla train` run that looks at gradients."
        )
    try:
        rows = read_rows(path)
        steps = np.array([row["step"] for row in rows])
        shares = _columns([row["shares"] for row in rows])
        cosines = _columns([row["cosines"] for row in rows])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}). Copy it again.") from error
    if not rows:
        raise ValueError(f"{path} holds nothing yet. Wait for the first look at the gradients.")
    return GradientRun(folder.resolve().name, steps, shares, cosines)


def _columns(rows: Sequence[dict[str, float]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows], float) for name in names}


def plot(run: GradientRun, ax) -> None:
    """Shares of the terms over steps."""
    for colour, (name, values) in zip(SERIES, run.shares.items(), strict=False):
        ax.plot(run.steps, values, "o-", color=colour, label=name, markersize=3)
    ax.set(xlabel="steps", ylabel="share of the gradient", ylim=(-0.02, 1.02))
    ax.grid(color=GRID)
    ax.legend()


def plot_cosines(run: GradientRun, ax) -> None:
    """Cosines of pairs of terms over steps."""
    for colour, (name, values) in zip(SERIES[3:], run.cosines.items(), strict=False):
        label = name.replace("~", " and ")
        ax.plot(run.steps, values, "o-", color=colour, label=label, markersize=3)
    ax.axhline(0, color=MUTED, linewidth=1)
    ax.set(xlabel="steps", ylabel="cosine of two gradients")
    ax.grid(color=GRID)
    ax.legend()


def write(runs: Sequence[GradientRun], folder: Path) -> list[Path]:
    """Write gradients.json and index.html."""
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / "gradients.json", folder / "index.html"
    data.write_text(json.dumps({run.name: medians(run) for run in runs}, indent=2) + "\n")
    page.write_text(render(runs), encoding="utf-8")
    return [data, page]


def medians(run: GradientRun) -> dict[str, dict[str, float]]:
    """Over the last half of the run; pairs that were never seen together are left out."""
    cosines = {name: run.late(values) for name, values in run.cosines.items()}
    return {
        "shares": {name: run.late(values) for name, values in run.shares.items()},
        "cosines": {name: value for name, value in cosines.items() if not np.isnan(value)},
    }


def render(runs: Sequence[GradientRun]) -> str:
    """The page."""
    body = ["<h1>The gradient bridge</h1>"]
    for run in runs:
        first, last = int(run.steps[0]), int(run.steps[-1])
        facts = f"{len(run.steps)} looks, from step {first} to {last}."
        body += [f"<h2>{escape(run.name)}</h2>", f'<p class="facts">{facts}</p>']
        body.append(figure(_drawing(run), f"Left: {SHARE_NOTE} Right: {COSINE_NOTE}"))
        body.append(_table(run))
    template = Template(files("analysis").joinpath("templates/compare.html").read_text("utf-8"))
    return template.substitute(title="Gradients of a policy's terms", body="\n".join(body))


def _drawing(run: GradientRun) -> str:
    def paint(_, axes) -> None:
        plot(run, axes[0, 0])
        plot_cosines(run, axes[0, 1])

    return svg.draw(f"Gradients of {run.name}", (9, 3.2), paint, columns=2)


def _table(run: GradientRun) -> str:
    found = medians(run)
    shares = [(f"share of {name}", value) for name, value in found["shares"].items()]
    cosines = [(f"cosine of {n.replace('~', ' and ')}", v) for n, v in found["cosines"].items()]
    lines = [
        f"<tr><td>{escape(name)}</td><td>{value:.3f}</td></tr>" for name, value in shares + cosines
    ]
    return table("<th>over the last half of the run</th><th>median</th>", lines)
