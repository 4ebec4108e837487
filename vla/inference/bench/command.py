"""`rvq-vla bench`: its options, and what it does with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


def bench_parser() -> ArgumentParser:
    """The options of `rvq-vla bench`."""
    from jsonargparse import ArgumentParser

    description = "Time the plain, the cached and the fast way to act, side by side."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--config", type=str | None, default=None, help="packaged name or YAML: random weights")
    add("--policy", type=str | None, default=None, help="or the folder of a policy")
    add("--views", nargs="+", type=int, default=[1, 2, 3], help="pictures in the prompt")
    add("--sizes", nargs="+", type=int, default=[], help="pixels per side (the network's own)")
    add("--words", type=int, default=40, help="tokens of text in the prompt")
    add("--horizon", type=int, default=32, help="frames of a chunk")
    add("--steps", type=int | None, default=None, help="of the sampler (the network's own)")
    add("--device", type=str, default="cpu", help="of the network")
    add("--dtype", type=str | None, default=None, help="float32, bfloat16 (cpu, cuda)")
    add("--repeats", type=int, default=7, help="rounds that count, at least 5")
    add("--threads", type=int | None, default=None, help="of torch on the CPU")
    add("--compiled", action="store_true", help="also with a compiled step (minutes to compile)")
    add("--seed", type=int, default=0, help="of random weights and inputs")
    add("--out", type=str | None, default=None, help="JSON file to write")
    return parser


def bench(config: Namespace) -> None:
    """Run `rvq-vla bench`.

    Raises:
        ValueError: An option is not usable.
    """
    import torch

    from rvq_action.housekeeping.console import writable_folder
    from vla.inference.bench.report import text, write
    from vla.inference.bench.settings import BenchSettings
    from vla.inference.bench.study import compute

    told: dict[str, Any] = config.as_dict()
    out, threads = told.pop("out"), told.pop("threads")
    lists = {key: tuple(value) for key, value in told.items() if isinstance(value, list)}
    settings = BenchSettings(**{**told, **lists})
    if threads is not None and threads < 1:
        raise ValueError(f"threads start at 1, got {threads}.")
    if out is not None:
        writable_folder(Path(out).parent)
    if threads is not None:
        torch.set_num_threads(threads)
    found = compute(settings, lambda what: print(f"... {what}", flush=True))
    print(text(found))
    if out is not None:
        write(found, Path(out))
        print(f"Wrote {out}")
