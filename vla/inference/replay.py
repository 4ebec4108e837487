"""Replay: a function without arguments, from buffers that stay to a buffer that stays.

On the CPU it is called. On a GPU its kernels are recorded once as a CUDA graph and launched as one
from then on: with one observation at a time it is the launching, kernel by kernel, that takes time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

WARM_UP = 3
"""Runs before the recording, in which libraries choose their kernels and take their memory."""


class CaptureWarning(UserWarning):
    """A CUDA graph could not be recorded; results are right, but slower."""


class Replay(Protocol):
    """Computes again, from whatever is in its inputs now."""

    def __call__(self) -> Tensor:
        """The output; the next call overwrites it."""
        ...


class GraphReplay:
    """A recorded CUDA graph.

    Args:
        graph: What was recorded.
        output: Where it leaves its result.
        run: What it was recorded of. The graph reads the tensors that this holds, and does not keep
            them itself.
    """

    def __init__(
        self, graph: torch.cuda.CUDAGraph, output: Tensor, run: Callable[[], Tensor]
    ) -> None:
        self.graph, self.output, self.run = graph, output, run

    def __call__(self) -> Tensor:
        self.graph.replay()
        return self.output


def make_replay(run: Callable[[], Tensor], device: torch.device) -> Replay:
    """The fastest replay that a device has; the function itself where there is no better one."""
    if device.type != "cuda":
        return run
    try:
        return record(run, device)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        warnings.warn(
            f"No CUDA graph could be recorded; kernels are launched one by one. ({reason})",
            CaptureWarning,
            stacklevel=2,
        )
        return run


def record(run: Callable[[], Tensor], device: torch.device) -> GraphReplay:
    """Warm up beside the current stream, then record.

    Raises:
        RuntimeError: The function waits for the GPU, takes memory in a way that a recording cannot
            repeat, or there is no memory.
    """
    with torch.cuda.device(device):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            output = run()
    return GraphReplay(graph, output, run)
