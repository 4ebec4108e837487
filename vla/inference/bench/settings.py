"""BenchSettings: what is timed, and how often."""

from __future__ import annotations

from dataclasses import dataclass

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FEWEST_ROUNDS = 5


@dataclass(frozen=True)
class BenchSettings:
    """One of `config` and `policy` names the network.

    Attributes:
        config: A packaged name or a YAML; the weights are random.
        policy: A policy's folder, or its id on the hub.
        views: Numbers of pictures.
        sizes: Pixels per side; the network's own where empty.
        words: Tokens of text in the prompt, the chat format's included.
        horizon: T, frames of a chunk.
        steps: Of the sampler; the network's own where None.
        device: Where it runs.
        dtype: Of the experts' weights: float32 or bfloat16; by device where None.
        repeats: Rounds that count.
        compiled: Also time the fast path with its step compiled.
        seed: Of the random weights and inputs.
    """

    config: str | None = None
    policy: str | None = None
    views: tuple[int, ...] = (1, 2, 3)
    sizes: tuple[int, ...] = ()
    words: int = 40
    horizon: int = 32
    steps: int | None = None
    device: str = "cpu"
    dtype: str | None = None
    repeats: int = 7
    compiled: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.config is None) == (self.policy is None):
            raise ValueError("Name a configuration (--config) or a policy (--policy), one of them.")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {list(DTYPES)}, got {self.dtype!r}.")
        if self.repeats < FEWEST_ROUNDS:
            raise ValueError(
                f"Medians are over at least {FEWEST_ROUNDS} rounds; repeats is {self.repeats}."
            )
        steps = 1 if self.steps is None else self.steps
        if not self.views or min(*self.views, 0) < 0 or min(self.words, self.horizon, steps) < 1:
            raise ValueError(
                "views are whole numbers from 0; words, horizon and steps start at 1. Got views "
                f"{list(self.views)}, words {self.words}, horizon {self.horizon}, steps {steps}."
            )
        if min(self.sizes, default=1) < 1:
            raise ValueError(f"sizes are pixels per side, from 1; got {list(self.sizes)}.")
