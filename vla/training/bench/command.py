"""`rvq-vla bench-training`: its options, and what it does with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


def bench_training_parser() -> ArgumentParser:
    """The options of `rvq-vla bench-training`."""
    from jsonargparse import ArgumentParser

    description = "Time training steps from random weights, and see whether they fit."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--config", type=str, required=True, help="packaged name (wall-oss, tiny) or a YAML")
    add("--batch_sizes", nargs="+", type=int, default=[1], help="sequences per micro-batch")
    add("--views", type=int, default=3, help="pictures in the prompt")
    add("--size", type=int | None, default=None, help="pixels per side (the network's own)")
    add("--words", type=int, default=40, help="tokens of text in the prompt")
    add("--horizon", type=int, default=32, help="frames of a chunk")
    add("--device", type=str, default="cpu", help="where it trains")
    add("--precision", type=Literal["32-true", "bf16-mixed"], default="bf16-mixed", help="of sums")
    add("--optimizer", type=Literal["adamw", "muon"], default="adamw", help="what moves weights")
    add("--lora_rank", type=int, default=0, help="of adapters on the VL Expert; 0 trains all")
    add("--gradient_checkpointing", type=bool, default=True, help="compute activations again")
    add("--steps", type=int, default=5, help="that count, at least 3")
    add("--seed", type=int, default=0, help="of weights, samples and noise")
    add("--out", type=str | None, default=None, help="JSON file to write")
    return parser


def bench_training(config: Namespace) -> None:
    """Run `rvq-vla bench-training`.

    Raises:
        ValueError: An option is not usable.
    """
    from dataclasses import asdict

    from rvq_action.housekeeping.console import writable_folder
    from rvq_action.housekeeping.json_file import write_json
    from vla.training.bench.report import line, text
    from vla.training.bench.settings import TrainingBenchSettings
    from vla.training.bench.study import compute

    told: dict[str, Any] = config.as_dict()
    out = told.pop("out")
    settings = TrainingBenchSettings(**{**told, "batch_sizes": tuple(told["batch_sizes"])})
    if out is not None:
        writable_folder(Path(out).parent)
    found = compute(settings, lambda entry: print(line(entry), flush=True))
    print(text(found))
    if out is not None:
        plain = asdict(found)
        plain["settings"]["batch_sizes"] = list(settings.batch_sizes)
        write_json(plain, Path(out))
        print(f"Wrote {out}")
