"""Taking times side by side: every round asks all in turn, so that a busy machine slows all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

WARM_UP = 2
"""Rounds that do not count: memory is taken, kernels are chosen, graphs recorded."""


@dataclass(frozen=True)
class Timed:
    """One way to act.

    Attributes:
        ms: Milliseconds of every round that counts.
        peak_gb: Most memory (10^9 bytes) that tensors took on a GPU, what the other ways keep
            included; None elsewhere.
        actions: What came out in the last round.
    """

    ms: np.ndarray
    peak_gb: float | None
    actions: Tensor


def race(
    ways: Mapping[str, Callable[[], Tensor]], repeats: int, device: torch.device
) -> dict[str, Timed]:
    """Time all ways in every round.

    Args:
        ways: By name.
        repeats: Rounds that count.
        device: That they run on; a GPU is waited for.
    """
    times = {name: np.empty(WARM_UP + repeats) for name in ways}
    peaks: dict[str, float | None] = dict.fromkeys(ways)
    actions: dict[str, Tensor] = {}
    for number in range(WARM_UP + repeats):
        for name, act in ways.items():
            _wait(device)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            start = time.perf_counter()
            actions[name] = act()
            _wait(device)
            times[name][number] = 1000 * (time.perf_counter() - start)
            if device.type == "cuda":
                peaks[name] = torch.cuda.max_memory_allocated(device) / 1e9
    return {name: Timed(times[name][WARM_UP:], peaks[name], actions[name]) for name in ways}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
