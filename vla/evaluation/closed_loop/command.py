"""`rvq-vla rollout` and `rvq-vla listen`: their options, and what they do with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from vla.evaluation.closed_loop.stage import Staging


def rollout_parser() -> ArgumentParser:
    """The options of `rvq-vla rollout`."""
    from jsonargparse import ArgumentParser

    description = "Let a policy act in Meta-World from fresh starts, and count what it solves."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--tasks", nargs="+", type=str, required=True, help="task names, such as drawer-close-v3")
    add_attempts(parser)
    add("--control", type=str | None, default=None, help="shuffled: recorded chunks at random")
    add("--data", nargs="+", type=str, default=[], help="demonstrations that the control plays")
    add("--instruction", type=str, default="task", help="what to say (each task's own)")
    add("--instruction_of", type=str | None, default=None, help="say what is said in that task")
    add("--look_alike", action="store_true", help="make reach-v3 and push-v3 look the same")
    return parser


def add_attempts(parser: ArgumentParser) -> None:
    """The options of every command that lets one policy attempt tasks from fresh starts."""
    add = parser.add_argument
    add("--policy", type=str, required=True, help="folder of the policy")
    add("--starts", type=int, default=20, help="fresh starts of each task, the same for everybody")
    add("--seed", type=int, default=0, help="other numbers give other starts")
    add("--max_steps", type=int, default=200, help="longer attempts have failed")
    add_acting(parser)


def add_acting(parser: ArgumentParser) -> None:
    """The options of every command that lets policies act."""
    add = parser.add_argument
    add("--out", type=str, required=True, help="folder of the outcomes")
    add("--pathway", type=str, default="flow", help="flow head (flow) or action tokens (ar)")
    add("--execute_frames", type=int | None, default=None, help="of every chunk (half of it)")
    add("--steps", type=int | None, default=None, help="of the flow's sampler (the policy's own)")
    add("--seconds", type=float | None, default=None, help="of a chunk (the tokenizer's)")
    add("--image_size", type=int | None, default=None, help="rendered, then scaled (the policy's)")
    add("--workers", type=int | None, default=None, help="processes (one per core)")
    add("--robots", type=int, default=10, help="attempts at a time, over all processes")
    add("--video", type=int, default=0, help="attempts of each task to film")
    add("--device", type=str, default="cpu", help="of the network")
    add("--fast", action="store_true", help="act by the fast path of the flow head")


def read_attempts(told: dict[str, Any]) -> tuple[Staging, int | None]:
    """Options, by name -> what is staged, and in how many processes.

    Raises:
        ValueError: An option is not usable.
    """
    from vla.evaluation.closed_loop.settings import RolloutSettings
    from vla.evaluation.closed_loop.stage import Staging

    names = ("policy", "out", "workers", "robots", "video", "device", "fast")
    policy, out, workers, robots, films, device, fast = (told.pop(name) for name in names)
    if min(robots, films + 1, 1 if workers is None else workers) < 1:
        raise ValueError("robots and workers start at 1, video at 0.")
    lists = {key: tuple(value) for key, value in told.items() if isinstance(value, list)}
    settings = RolloutSettings(**{**told, **lists})
    return Staging(Path(policy), settings, Path(out), robots, films, device, fast), workers


def rollout(config: Namespace) -> None:
    """Run `rvq-vla rollout`.

    Raises:
        ValueError: An option is not usable; see `roll_out`.
    """
    from vla.deploy.robots.metaworld_tasks import INSTRUCTIONS, check_task
    from vla.evaluation.closed_loop.results import by_task, summary
    from vla.evaluation.closed_loop.run import roll_out
    from vla.evaluation.closed_loop.settings import OWN_INSTRUCTION

    told: dict[str, Any] = config.as_dict()
    other = told.pop("instruction_of")
    if other is not None:
        check_task(other)
        if told["instruction"] != OWN_INSTRUCTION:
            raise ValueError("Give --instruction or --instruction_of, not both.")
        told["instruction"] = INSTRUCTIONS[other]
    found = roll_out(*read_attempts(told))
    tasks = by_task(found.outcomes)
    for task, own in tasks.items():
        print(summary_line(task, summary([own])))
    if len(tasks) > 1:
        print(summary_line("mean", summary(list(tasks.values()))))
    print(f"Wrote {found.report}")


def listen_parser() -> ArgumentParser:
    """The options of `rvq-vla listen`."""
    from jsonargparse import ArgumentParser

    from vla.deploy.robots.look_alike import LOOK_ALIKE

    description = "Does a policy listen? Tasks that look alike, each under every instruction."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--tasks", nargs="+", type=str, default=list(LOOK_ALIKE), help="that look alike")
    add_attempts(parser)
    return parser


def listen(config: Namespace) -> None:
    """Run `rvq-vla listen`.

    Raises:
        ValueError: An option is not usable; see `roll_out`.
    """
    from vla.evaluation.closed_loop.listening import measure_listening

    told = {**config.as_dict(), "look_alike": True}
    heard = measure_listening(*read_attempts(told))
    print("{:<28} {}".format("told to", "   ".join(f"{task:>22}" for task in heard.tasks)))
    for other in heard.tasks:
        cells = (heard.cells[task, other] for task in heard.tasks)
        shares = (f"{c.success:.0%} ({c.low:.0%} to {c.high:.0%})" for c in cells)
        print("{:<28} {}".format(other, "   ".join(f"{share:>22}" for share in shares)))
    print(f"Wrote {heard.report}")


def summary_line(name: str, row: Mapping[str, Any]) -> str:
    """What `summary` gives, as a line of a table."""
    told = "{:<28} {solved:>3} of {count:>3}   {success:.0%} ({low:.0%} to {high:.0%})"
    progress = "" if row["progress"] is None else "   progress {mean:.0f} ({low:.0f} to {high:.0f})"
    return told.format(name, **row) + progress.format(**(row["progress"] or {}))
