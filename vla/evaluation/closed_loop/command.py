"""`rvq-vla rollout`: its options, and what it does with them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from vla.evaluation.closed_loop.results import Share


def rollout_parser() -> ArgumentParser:
    """The options of the command."""
    from jsonargparse import ArgumentParser

    description = "Let a policy act in Meta-World from fresh starts, and count what it solves."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--policy", type=str, required=True, help="folder of the policy")
    add("--tasks", nargs="+", type=str, required=True, help="task names, such as drawer-close-v3")
    add("--starts", type=int, default=20, help="fresh starts of each task, the same for everybody")
    add("--out", type=str, required=True, help="folder of the outcomes")
    add("--pathway", type=str, default="flow", help="flow head (flow) or action tokens (ar)")
    add("--control", type=str | None, default=None, help="shuffled: recorded chunks at random")
    add("--data", nargs="+", type=str, default=[], help="demonstrations that the control plays")
    add("--execute_frames", type=int | None, default=None, help="of every chunk (half of it)")
    add("--steps", type=int | None, default=None, help="of the flow's sampler (the policy's own)")
    add("--seconds", type=float | None, default=None, help="of a chunk (the tokenizer's)")
    add("--instruction", type=str, default="task", help="what to say (each task's own)")
    add("--instruction_of", type=str | None, default=None, help="say what is said in that task")
    add("--seed", type=int, default=0, help="other numbers give other starts")
    add("--max_steps", type=int, default=200, help="longer attempts have failed")
    add("--image_size", type=int | None, default=None, help="rendered, then scaled (the policy's)")
    add("--workers", type=int | None, default=None, help="processes (one per core)")
    add("--robots", type=int, default=10, help="attempts at a time, over all processes")
    add("--video", type=int, default=0, help="attempts of each task to film")
    add("--device", type=str, default="cpu", help="of the network")
    return parser


def rollout(config: Namespace) -> None:
    """Run the command.

    Raises:
        ValueError: An option is not usable; see `roll_out`.
    """
    from vla.deploy.robots.metaworld_tasks import INSTRUCTIONS, check_task
    from vla.evaluation.closed_loop.results import Share, summarize
    from vla.evaluation.closed_loop.run import roll_out
    from vla.evaluation.closed_loop.settings import OWN_INSTRUCTION, RolloutSettings
    from vla.evaluation.closed_loop.stage import Staging

    told: dict[str, Any] = config.as_dict()
    names = ("policy", "out", "workers", "robots", "video", "device", "instruction_of")
    policy, out, workers, robots, films, device, other = (told.pop(name) for name in names)
    if min(robots, films + 1, workers or 1) < 1:
        raise ValueError("robots and workers start at 1, video at 0.")
    if other is not None:
        check_task(other)
        if told["instruction"] != OWN_INSTRUCTION:
            raise ValueError("Give --instruction or --instruction_of, not both.")
        told["instruction"] = INSTRUCTIONS[other]
    told |= {key: tuple(told[key]) for key in ("tasks", "data")}
    settings = RolloutSettings(**told)
    staging = Staging(Path(policy), settings, Path(out), robots, films, device)
    found = roll_out(staging, workers)
    for task, share in summarize(found.outcomes).items():
        print(_line(task, share))
    if len(settings.tasks) > 1:
        print(_line("mean", Share.of([outcome.success for outcome in found.outcomes])))
    print(f"Wrote {found.report}")


def _line(name: str, share: Share) -> str:
    row = asdict(share)
    return "{:<28} {solved:>3} of {count:>3}   {success:.0%} ({low:.0%} to {high:.0%})".format(
        name, **row
    )
