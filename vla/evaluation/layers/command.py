"""`rvq-vla eval`: its options, and what it does with them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonargparse import ArgumentParser, Namespace

    from vla.evaluation.layers.evaluate import LayerResult


def eval_parser() -> ArgumentParser:
    """The options of `rvq-vla eval`."""
    from jsonargparse import ArgumentParser

    from vla.evaluation.layers.gates import Gates
    from vla.evaluation.layers.settings import LAYERS, EvalSettings

    description = "Take a policy through four layers, from its answers to the moving robot."
    default, layers = EvalSettings, ", ".join(LAYERS)
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--policy", type=str, required=True, help="folder of the policy")
    add("--data", type=str | None, default=None, help="dataset of its robot: layers 1 and 2")
    add(
        "--robots", nargs="+", type=str, default=[], help="metaworld:TASK or a YAML: layers 3 and 4"
    )
    add("--out", type=str, required=True, help="folder of the results")
    add("--through", type=str, default=LAYERS[-1], help=f"last layer to try: {layers}")
    add("--embodiment", type=str | None, default=None, help="robot that the policy acts as")
    add("--mapping", type=str | None, default=None, help="of the dataset, if not its own")
    add("--pathway", type=str, default=default.pathway, help="offline: flow head or tokens (ar)")
    add("--windows", type=int, default=default.windows, help="held-out windows of layer 2")
    add("--trials", type=int, default=default.trials, help="with every robot, in layers 3 and 4")
    add("--seconds", type=float, default=default.seconds, help="of a trial at full speed")
    add("--low_speed", type=float, default=default.low_speed, help="of layer 3, of full speed")
    add(
        "--schedule",
        type=str,
        default=default.schedule,
        help="receding, asynchronous, joined, real_time or ensemble",
    )
    add("--execute_frames", type=int | None, default=None, help="of every chunk (the schedule's)")
    add("--latency_s", type=float, default=0.0, help="of a chunk, on a simulated robot's clock")
    add("--instruction", type=str | None, default=None, help="what to say (what is usual there)")
    add("--steps", type=int | None, default=None, help="of the flow's sampler (the policy's own)")
    add("--seed", type=int, default=default.seed, help="of noise and starts")
    add("--device", type=str, default=default.device, help="of the network")
    add("--stop_at", type=str | None, default=None, help="HOST:PORT of /stop, $RVQ_ACTION_STOP_KEY")
    parser.add_class_arguments(Gates, "gates")
    return parser


def eval_policy(config: Namespace) -> int:
    """Run `rvq-vla eval`; 1 where a gate is not passed.

    Raises:
        ValueError: An option is not usable; see `evaluate`.
    """
    from vla.deploy.drive.go import read_address
    from vla.deploy.robots.protocol import RobotError
    from vla.evaluation.layers.evaluate import REPORT, evaluate
    from vla.evaluation.layers.gates import Gates
    from vla.evaluation.layers.settings import EvalSettings

    told: dict[str, Any] = config.as_dict()
    out, through, given = Path(told.pop("out")), told.pop("through"), told.pop("gates")
    gates = Gates(**{spec.name: given[spec.name] for spec in fields(Gates)})
    told |= {"policy": Path(told["policy"]), "robots": tuple(told["robots"])}
    told["stop_at"] = told["stop_at"] and read_address(told["stop_at"])
    try:
        results = evaluate(EvalSettings(**told), out, gates, through)
    except RobotError as error:
        raise ValueError(f"A robot cannot be driven: {error}") from error
    for line in lines(results):
        print(line)
    print(f"Wrote {out / REPORT}")
    return 0 if all(result.passed for result in results) else 1


def lines(results: Sequence[LayerResult]) -> list[str]:
    """Every check of every layer, and what stopped it."""
    told = []
    for result in results:
        told.append(f"{result.name}: {'passed' if result.passed else 'NOT PASSED'}")
        told += [f"  {'ok  ' if c.passed else 'FAIL'}  {c.name}: {c.detail}" for c in result.checks]
    failed = [check.name for check in results[-1].checks if not check.passed] if results else []
    if failed:
        told.append(f"Stopped after {results[-1].name}: {'; '.join(failed)}.")
    return told
