"""`rvq-vla`: demonstrations and questions for the policy, and the policy."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rvq_action.housekeeping.console import EXPECTED, guarded, writable_folder
from vla.ablation.command import ablate, ablate_parser
from vla.data.demo_settings import DemoSettings
from vla.deploy.drive.command import drive, drive_parser
from vla.deploy.drive.replay_command import replay, replay_parser
from vla.deploy.drive.show_command import show, show_parser
from vla.deploy.robots.rendering import RenderingUnavailable
from vla.deploy.server.command import serve, serve_parser
from vla.evaluation.closed_loop.command import listen, listen_parser, rollout, rollout_parser
from vla.evaluation.layers.command import eval_parser, eval_policy
from vla.evaluation.progress.command import rubrics, rubrics_parser
from vla.evaluation.schedules.command import schedules, schedules_parser
from vla.evaluation.suites.command import suite, suite_parser
from vla.inference.bench.command import bench, bench_parser
from vla.training.bench.command import bench_training, bench_training_parser

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    words = list(sys.argv[1:] if args is None else args)
    expected = (*EXPECTED, RenderingUnavailable, BrokenExecutor, FloatingPointError)
    extra = EXTRAS.get(words[0], "vla") if words else "vla"
    return guarded("rvq-vla", words, extra, lambda: _run(words), expected)


def _run(words: Sequence[str]) -> int | None:
    from jsonargparse import ArgumentParser

    if words[:1] == ["train"]:
        _train(words[1:])
        return None
    parser = ArgumentParser(prog="rvq-vla", description="Policies, and demonstrations for them.")
    commands = parser.add_subcommands(required=True, dest="command")
    for name, (build, _) in COMMANDS.items():
        subparser = build()
        commands.add_subcommand(name, subparser, help=subparser.description)
    config = parser.parse_args(words)
    return COMMANDS[config.command][1](config[config.command])


def _demos_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    description = "Record Meta-World's scripted experts into a LeRobotDataset v3.0."
    parser = ArgumentParser(description=description)
    default = DemoSettings
    add = parser.add_argument
    add("--tasks", nargs="+", type=str, required=True, help="task names, such as drawer-close-v3")
    add("--episodes", type=int, required=True, help="demonstrations per task")
    add("--out", type=str, required=True, help="folder of the dataset")
    add("--seed", type=int, default=default.seed, help="decides every start")
    add("--image_size", type=int, default=default.image_size, help="pixels per side")
    add("--cameras", nargs="+", type=str, default=list(default.cameras), help="camera names")
    add("--fps", type=int, default=default.fps, help="control steps that count as one second")
    add("--max_steps", type=int, default=default.max_steps, help="longer attempts have failed")
    add("--look_alike", action="store_true", help="make reach-v3 and push-v3 look the same")
    add("--workers", type=int | None, default=None, help="processes; one per core if not given")
    return parser


def _demos(config: Namespace) -> None:
    from vla.data.demos import record_demos

    options = config.as_dict()
    out, workers = options.pop("out"), options.pop("workers")
    writable_folder(Path(out).parent)
    options |= {key: tuple(options[key]) for key in ("tasks", "cameras")}
    report = record_demos(DemoSettings(**options), out, workers)
    failed = ", ".join(f"{task} {count}" for task, count in report.failed_attempts.items())
    print(
        f"{'Reusing' if report.reused else 'Wrote'} {report.path}: {report.episodes} episodes, "
        f"{report.frames} frames. Failed attempts, left out: {failed or 'none'}."
    )


def _bridge_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    description = "Write questions about a robot's pictures that its trajectories answer."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--data", nargs="+", type=str, required=True, help="folders of LeRobotDatasets")
    add("--out", type=str, required=True, help="folder of the samples")
    add("--tokenizer", type=str | None, default=None, help="its held-out episodes stay held out")
    add("--mapping", type=str | None, default=None, help="each dataset's own if not given")
    add("--cameras", nargs="+", type=str, default=[], help="camera names; all if not given")
    add("--kinds", nargs="+", type=str, default=[], help="kinds of questions; all if not given")
    add("--per_answer", type=int, default=200, help="most questions with one answer")
    add("--seed", type=int, default=0, help="of the choice")
    return parser


def _bridge(config: Namespace) -> None:
    from vla.data.bridge.settings import BridgeSettings
    from vla.data.bridge.write import write_bridge

    options = config.as_dict()
    out = options.pop("out")
    writable_folder(Path(out).parent)
    lists = {key: tuple(options.pop(key)) for key in ("data", "cameras", "kinds")}
    options |= {key: value for key, value in lists.items() if value}
    report = write_bridge(BridgeSettings(**options), out)
    print(f"{'Reusing' if report.reused else 'Wrote'} {report.path}")
    for part, kinds in report.answers.items():
        for kind, answers in kinds.items():
            print(f"  {part:<9} {kind:<9} {json.dumps(answers, ensure_ascii=False)}")


def _train_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    return ArgumentParser(description="Train a policy on LeRobot datasets.")


def _train(words: Sequence[str] | Namespace) -> None:
    from vla.training.command import train_command

    train_command(list(words))


def _inspect_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    description = "Count a policy's parameters, and estimate memory and FLOPs."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--config", type=str, required=True, help="packaged name (wall-oss, tiny) or a YAML")
    add("--views", type=int, default=3, help="pictures in the prompt")
    add("--words", type=int, default=96, help="tokens of text in the prompt")
    add("--horizon", type=int, default=32, help="frames of a chunk")
    add("--batch_size", type=int, default=1, help="sequences per training step")
    add("--json", action="store_true", help="print JSON")
    return parser


def _inspect(config: Namespace) -> None:
    from vla.config import VLAConfig
    from vla.inspection import Workload, inspect_config

    options = config.as_dict()
    name, as_json = options.pop("config"), options.pop("json")
    found = asdict(inspect_config(VLAConfig.named(name), Workload(**options)))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for title, rows in found.items():
        print(title)
        for row, value in rows.items():
            print(f"  {row:<20} {value:>16,}")


COMMANDS: dict[str, tuple[Callable[[], ArgumentParser], Callable[[Namespace], int | None]]] = {
    "demos": (_demos_parser, _demos),
    "bridge": (_bridge_parser, _bridge),
    "train": (_train_parser, _train),
    "inspect": (_inspect_parser, _inspect),
    "rollout": (rollout_parser, rollout),
    "listen": (listen_parser, listen),
    "eval": (eval_parser, eval_policy),
    "rubrics": (rubrics_parser, rubrics),
    "suite": (suite_parser, suite),
    "serve": (serve_parser, serve),
    "ablate": (ablate_parser, ablate),
    "bench": (bench_parser, bench),
    "bench-training": (bench_training_parser, bench_training),
    "schedules": (schedules_parser, schedules),
    "drive": (drive_parser, drive),
    "replay": (replay_parser, replay),
    "show": (show_parser, show),
}
"""Subcommand -> (its parser, what it runs: its exit status, or None for 0)."""

EXTRAS = {
    **{"demos": "sim", "rollout": "vla,sim", "listen": "vla,sim", "ablate": "vla,sim"},
    **{"rubrics": "sim", "suite": "vla,sim", "eval": "vla,sim"},
    "schedules": "vla,sim",
    "serve": "vla,deploy",
    "drive": "vla,deploy,sim",
    "replay": "vla,deploy,sim",
    "show": "vla,rerun",
}
"""Subcommand -> the extras that it needs, where those are not the policy's alone."""


if __name__ == "__main__":
    sys.exit(main())
