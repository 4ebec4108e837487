"""Taking times side by side: every pass asks all runners in turn, so that a busy machine slows all.

A pass of small batches is many calls, each on other chunks; warm-up passes are not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

PASSES, WARM_UP = 7, 2
CALLS = {1: 32, 64: 4}
"""Calls per pass at small batches; one at all others."""


@dataclass(frozen=True)
class Runner:
    """What is timed.

    Attributes:
        encode: Called with the number of a batch; what it returns goes to `decode`.
        decode: Called with the number of a batch and its tokens.
        device: `cpu` or `cuda`.
        codes: What codes the tokens of a batch stand for; not timed.
        absolute: Called with the number of a batch and what `decode` made of it, where that is
            neither in absolute physical units nor in scored space: the same in those; not timed.
    """

    encode: Callable[[int], Any]
    decode: Callable[[int, Any], Any]
    device: str
    codes: Callable[[Any], Any] = lambda tokens: tokens
    absolute: Callable[[int, Any], Any] = lambda number, chunks: chunks


@dataclass(frozen=True)
class Times:
    """Microseconds per chunk, [passes] each."""

    encode: np.ndarray
    decode: np.ndarray

    @property
    def both(self) -> np.ndarray:
        return self.encode + self.decode


def race(runners: Sequence[Runner], batches: int, chunks: int, passes: int = PASSES) -> list[Times]:
    """Time all runners on the same batches.

    Args:
        runners: What to time.
        batches: Calls of a pass.
        chunks: Chunks of a pass, in all its batches.
        passes: Passes that count.
    """
    seconds = np.empty((len(runners), passes + WARM_UP, 2))
    for number in range(passes + WARM_UP):
        for place, runner in enumerate(runners):
            seconds[place, number] = _pass(runner, batches)
    micros = seconds[:, WARM_UP:] / chunks * 1e6
    return [Times(encode, decode) for encode, decode in micros.transpose(0, 2, 1)]


def _pass(runner: Runner, batches: int) -> tuple[float, float]:
    """Seconds to encode, and to decode, every batch once."""
    start = _now(runner)
    tokens = [runner.encode(number) for number in range(batches)]
    middle = _now(runner)
    for number, sequence in enumerate(tokens):
        runner.decode(number, sequence)
    return middle - start, _now(runner) - middle


def _now(runner: Runner) -> float:
    if runner.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
