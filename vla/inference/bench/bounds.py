"""What a GPU would need at least: to read the weights, and to multiply.

Both rates are measured on the spot, not taken from a data sheet: a large copy and a large matrix
product, of random numbers, since a GPU multiplies zeros faster than anything else. Reading counts
the weights of the VL Expert once and those of the Action Expert once per denoising step (the
vocabulary's rows are looked up, not read through); multiplying counts what `rvq-vla inspect` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from vla.inference.bench.subject import sized
from vla.inspection import Workload, count_parameters, inspect_config
from vla.model import VLAModel

COPIED_BYTES, MATRIX = 2**30, 8192
"""Sizes at which a GPU is busy with nothing else."""
ROUNDS = 5


@dataclass(frozen=True)
class Rates:
    """Of a device.

    Attributes:
        bytes_per_s: Read and written in a copy, together.
        flop_per_s: Of a matrix product.
    """

    bytes_per_s: float
    flop_per_s: float


@dataclass(frozen=True)
class Bounds:
    """Milliseconds that a chunk takes at least.

    Attributes:
        weights: To read all weights as often as they are needed.
        flops: To multiply.
    """

    weights: float
    flops: float


def measure_rates(
    device: torch.device, dtype: torch.dtype, copied: int = COPIED_BYTES, matrix: int = MATRIX
) -> Rates:
    """A device's own, the best of several rounds.

    Args:
        device: Which.
        dtype: Of the matrices.
        copied: Bytes of the copy.
        matrix: Rows of the matrices.
    """
    source = torch.randint(256, (copied,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    a = torch.randn(matrix, matrix, dtype=dtype, device=device)
    copy = _fastest(lambda: target.copy_(source), device)
    multiply = _fastest(lambda: a @ a, device)
    return Rates(2 * copied / copy, 2 * matrix**3 / multiply)


def streamed_bytes(model: VLAModel, steps: int) -> int:
    """Bytes of weights that one chunk has to read."""
    counts = count_parameters(model)
    experts = counts["vision"] + counts["language"] + steps * counts["action_expert"]
    return experts * model.dtype.itemsize + steps * counts["heads"] * torch.float32.itemsize


def bounds(model: VLAModel, rates: Rates, size: int, steps: int, load: Workload) -> Bounds:
    """Of a chunk from so many pictures of a size."""
    flops = inspect_config(sized(model.config, size, steps), load).tflops["acting"] * 1e12
    streamed = streamed_bytes(model, steps) / rates.bytes_per_s
    return Bounds(1000 * streamed, 1000 * flops / rates.flop_per_s)


def _fastest(run: Callable[[], object], device: torch.device) -> float:
    """Seconds, warm-up excluded."""
    times = []
    for _ in range(ROUNDS + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])
