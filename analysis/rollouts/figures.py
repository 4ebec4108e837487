"""The figures of the page: curves over checkpoints, stages, errors over the horizon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis import svg
from analysis.bootstrap import Estimate
from analysis.rollouts.runs import ALL, Checkpoint, SuiteRun
from analysis.style import GRID, MUTED, SERIES
from vla.evaluation.layers.open_loop import HOLDING, MEAN, POLICY
from vla.evaluation.progress.tracker import SOLVED

GROUPS = {"seen": SERIES[0], "unseen": SERIES[1], ALL: SERIES[7]}
STAGES = {
    "approach": SERIES[1], "grasp": SERIES[5], "move": SERIES[3], "solve": SERIES[4],
    SOLVED: SERIES[2],
}  # fmt: skip
RIVALS = {POLICY: SERIES[0], HOLDING: SERIES[1], MEAN: SERIES[7]}
NAMES = {POLICY: "policy", HOLDING: "holding the state", MEAN: "mean action"}
SHOWN_AS = {"m": ("mm", 1e3), "m/s": ("mm/s", 1e3), "rad": ("degrees", 180 / np.pi)}
"""Unit -> the one that people read it in, and the factor to it."""


def curve(run: SuiteRun) -> str:
    """Success and progress over checkpoints."""

    def paint(_, axes) -> None:
        plot_curve(run, axes[0, 0], "success [%]", lambda r: _times(r.success, 100))
        plot_curve(run, axes[0, 1], "task progress", lambda r: r.progress)
        axes[0, 1].legend()

    return svg.draw(f"{run.name}: over checkpoints", (9.5, 3.2), paint, columns=2)


def plot_curve(run: SuiteRun, ax, label: str, read) -> None:
    """One panel: a line for every group of tasks, with its 95 % interval."""
    steps = [c.steps for c in run.checkpoints]
    known = None not in steps
    places = np.array(steps if known else range(1, len(steps) + 1), float)
    for name, colour in GROUPS.items():
        found = [read(c.averages[name]) for c in run.checkpoints if name in c.averages]
        if len(found) != len(places) or None in found:
            continue
        value, low, high = np.array(found).T
        ax.plot(places, value, "o-", color=colour, label=name, markersize=4)
        if name != ALL:
            ax.fill_between(places, low, high, color=colour, alpha=0.14, linewidth=0)
    ax.set(xlabel="training steps" if known else "checkpoint", ylabel=label, ylim=(-2, 102))
    ax.set_xticks(places, [f"{place:g}" for place in places])
    ax.grid(color=GRID)


def _times(found: Estimate, factor: float) -> Estimate:
    return Estimate(*(factor * end for end in found))


def stages(checkpoint: Checkpoint, unseen: Mapping[str, str]) -> str:
    """In which stage attempts ended, task by task."""
    tasks = [task for task, result in checkpoint.tasks.items() if result.stages]

    def paint(_, axes) -> None:
        ax = axes[0, 0]
        left = np.zeros(len(tasks))
        for stage, colour in _stages(checkpoint).items():
            counts = np.array([checkpoint.tasks[t].stages.get(stage, 0) for t in tasks])
            widths = 100 * counts / [checkpoint.tasks[t].count for t in tasks]
            ax.barh(range(len(tasks)), widths, left=left, color=colour, label=stage, height=0.7)
            left = left + widths
        names = [_short(task) + (" *" if task in unseen else "") for task in tasks]
        ax.set_yticks(range(len(tasks)), names)
        ax.set(xlim=(0, 100), xlabel="attempts [%]", ylim=(len(tasks) - 0.4, -0.6))
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5)

    height = 1.1 + 0.26 * len(tasks)
    return svg.draw(f"{checkpoint.name}: stages", (9.5, height), paint)


def _stages(checkpoint: Checkpoint) -> dict[str, str]:
    """Stage -> colour: the usual ones in their order, others where they are first met."""
    met = dict.fromkeys(stage for result in checkpoint.tasks.values() for stage in result.stages)
    usual = [stage for stage in STAGES if stage in met and stage != SOLVED]
    rare = [stage for stage in met if stage not in STAGES]
    colours = {stage: STAGES.get(stage, SERIES[6]) for stage in (*usual, *rare)}
    return colours | ({SOLVED: STAGES[SOLVED]} if SOLVED in met else {})


def open_loop(figures: Mapping[str, Any]) -> str:
    """The error of every group of channels over the horizon."""
    groups, columns = figures["groups"], min(3, len(figures["groups"]))
    rows = -(-len(groups) // columns)

    def paint(_, axes) -> None:
        for ax in axes.flat[len(groups) :]:
            ax.set_axis_off()
        for ax, (name, group) in zip(axes.flat, groups.items(), strict=False):
            plot_errors(name, group, figures["fps"], ax)
        axes.flat[0].legend()

    size = (9.5, 2.9 * rows)
    return svg.draw(f"{figures['dataset']}: error over the horizon", size, paint, rows, columns)


def plot_errors(name: str, group: Mapping[str, Any], fps: float, ax) -> None:
    """One panel: a group of channels."""
    unit, factor = SHOWN_AS.get(group["unit"], (group["unit"], 1.0))
    for rival, colour in RIVALS.items():
        errors = factor * np.array(group[rival])
        style = "-" if rival == POLICY else "--"
        times = np.arange(1, len(errors) + 1) / fps
        ax.plot(times, errors, style, color=colour, label=NAMES[rival])
    shown = "" if unit == name else f" [{unit}]"
    ax.set(title=name, xlabel="seconds ahead", ylabel=f"mean error{shown}")
    ax.set_ylim(bottom=0)
    ax.axhline(0, color=MUTED, linewidth=0.8)
    ax.grid(color=GRID)


def _short(task: str) -> str:
    return task.removesuffix("-v3")
