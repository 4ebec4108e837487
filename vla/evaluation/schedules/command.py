"""`rvq-vla schedules`: its options, and the table that it prints."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

COLUMNS = ("mode", "missed", "jump", "of naive", "inside", "success", "seconds")
ROW = "{:<14} {:>22} {:>20} {:>20} {:>8} {:>26} {:>8}"


def schedules_parser() -> ArgumentParser:
    """The options of `rvq-vla schedules`."""
    from jsonargparse import ArgumentParser

    from vla.evaluation.schedules.settings import ScheduleTrials

    description = "Play chunks in several ways from the same starts: deadlines, seams, success."
    parser = ArgumentParser(description=description)
    default, add = ScheduleTrials, parser.add_argument
    add("--policy", type=str, required=True, help="folder of the policy")
    add("--tasks", nargs="+", type=str, required=True, help="task names, such as drawer-close-v3")
    add("--out", type=str, required=True, help="folder of the outcomes")
    add("--starts", type=int, default=default.starts, help="fresh starts of each task")
    add(
        "--modes",
        nargs="+",
        type=str,
        default=list(default.modes),
        help="ways to play chunks, and `guided`: real_time that is given no frames",
    )
    add("--latency_s", nargs=2, type=float, default=None, help="plain, guided (measured here)")
    add("--real_clock", action="store_true", help="let time pass; inference takes what it takes")
    add("--execute_frames", type=int | None, default=None, help="of every chunk (half of it)")
    add("--max_guidance", type=float | None, default=None, help="of real-time chunking (the usual)")
    add("--steps", type=int | None, default=None, help="of the flow's sampler (the policy's own)")
    add("--seed", type=int, default=default.seed, help="other numbers give other starts")
    add("--seconds", type=float, default=default.seconds, help="longer attempts have failed")
    add("--fast", action="store_true", help="by the fast path (docs/inference.md)")
    add("--image_size", type=int | None, default=None, help="rendered (the policy's)")
    return parser


def schedules(config: Namespace) -> None:
    """Run `rvq-vla schedules`.

    Raises:
        ValueError: An option is not usable; see `compare_schedules`.
    """
    from vla.evaluation.schedules.run import compare_schedules
    from vla.evaluation.schedules.settings import ScheduleTrials

    told: dict[str, Any] = config.as_dict()
    logging.getLogger("vla.deploy").setLevel(logging.WARNING)
    policy, out = Path(told.pop("policy")), Path(told.pop("out"))
    told |= {key: tuple(value) for key, value in told.items() if isinstance(value, list)}
    found = compare_schedules(policy, ScheduleTrials(**told), out)
    if found.latency_s is not None:
        plain, guided = (1e3 * seconds for seconds in found.latency_s)
        print(f"A chunk takes {plain:.0f} ms, a guided one {guided:.0f} ms, in simulated time.")
    print(ROW.format(*COLUMNS))
    for mode, figures in found.modes.items():
        print(table_row(mode, figures))
    print(f"Wrote {found.report}; draw it: rvq-analysis rollouts --runs {out} --out PAGE")


def table_row(mode: str, figures: dict[str, Any]) -> str:
    """A line of the table."""
    success, inside = figures["success"], figures["inside"]
    solved = "{solved}/{count} ({low:.0%} to {high:.0%})".format(**success)
    cells = [
        _with_interval(figures, "missed", ".2%"),
        _with_interval(figures, "jump", ".3f"),
        _with_interval(figures, "jump_ratio", ".2f") if "jump_ratio" in figures else "",
    ]
    within = "" if inside is None else f"{inside:.3f}"
    return ROW.format(mode, *cells, within, solved, f"{figures['seconds']:.2f}")


def _with_interval(figures: dict[str, Any], name: str, form: str) -> str:
    if figures[name] is None:
        return ""
    low, high = figures[f"{name}_ci"]
    return f"{figures[name]:{form}} ({low:{form}}, {high:{form}})"
