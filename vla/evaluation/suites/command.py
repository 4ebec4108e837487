"""`rvq-vla suite`: its options, and what it does with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


def suite_parser() -> ArgumentParser:
    """The options of `rvq-vla suite`."""
    from jsonargparse import ArgumentParser

    from vla.evaluation.closed_loop.command import add_acting

    description = "Judge the checkpoints of a policy by a suite of tasks, seen in training and not."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--policies", nargs="+", type=str, required=True, help="folders, in the curve's order")
    add("--suite", type=str, default="metaworld17", help="packaged name or a YAML")
    add("--tasks", nargs="+", type=str, default=[], help="some of its tasks (all)")
    add("--trajectories", type=int | None, default=None, help="of each task (the suite's)")
    add("--max_steps", type=int | None, default=None, help="of a trajectory (the suite's)")
    add_acting(parser)
    return parser


def suite(config: Namespace) -> None:
    """Run `rvq-vla suite`.

    Raises:
        ValueError: An option is not usable; see `run_suite`.
    """
    from vla.evaluation.closed_loop.command import read_attempts
    from vla.evaluation.suites.run import REPORT, name_checkpoints, run_suite
    from vla.evaluation.suites.suite import load_suite

    told: dict[str, Any] = config.as_dict()
    judged = load_suite(told.pop("suite"))
    tasks = told.pop("tasks")
    given = {name: told.pop(name) for name in ("trajectories", "max_steps")}
    judged = judged.only(tasks) if tasks else judged
    judged = replace(judged, **{name: n for name, n in given.items() if n is not None})
    checkpoints = name_checkpoints(told.pop("policies"))
    told |= {"policy": str(checkpoints[0].path), "tasks": list(judged.tasks)}
    staging, workers = read_attempts(told)
    report = run_suite(checkpoints, judged, staging, workers)
    print("\n".join(table(report)))
    print(f"Wrote {staging.out / REPORT}")


def table(report: dict[str, Any]) -> list[str]:
    """suite.json as lines: a row for every task and average, success and progress by checkpoint."""
    rows = report["checkpoints"]
    names = [row["name"] for row in rows]
    lines = [f"{'success, progress':<30}" + "".join(f"{name:>26}" for name in names)]
    for part in ("tasks", "averages"):
        for key in rows[0][part]:
            cells = "".join(f"{_cell(row[part][key]):>26}" for row in rows)
            mark = " (unseen)" if key in report["suite"]["unseen"] else ""
            lines.append(f"{key.removesuffix('-v3') + mark:<30}{cells}")
    return lines


def _cell(found: dict[str, Any]) -> str:
    share = "{success:.0%} [{low:.0%}, {high:.0%}]".format(**found)
    return f"{share} {found['progress']['mean']:5.1f}"
