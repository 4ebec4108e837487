"""TrainingBenchSettings: whose training steps are timed, on what, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FEWEST_STEPS = 3


@dataclass(frozen=True)
class TrainingBenchSettings:
    """Weights and samples are random.

    Attributes:
        config: A packaged name or a YAML.
        batch_sizes: Sequences per micro-batch, each timed by itself.
        views: Pictures in the prompt.
        size: Pixels per side; the configuration's own where None.
        words: Tokens of text in the prompt, the chat format's included.
        horizon: T, frames of a chunk.
        device: Where it trains.
        precision: `32-true`; `bf16-mixed`: float32 weights, sums in bfloat16.
        optimizer: `adamw` or `muon`, as in `--model.optimizer.name`.
        lora_rank: Of adapters on the VL Expert, its frozen weights in bfloat16; 0 trains all.
        gradient_checkpointing: Compute activations again in the backward pass.
        steps: That count; one before them does not.
        seed: Of weights, samples and noise.
    """

    config: str
    batch_sizes: tuple[int, ...] = (1,)
    views: int = 3
    size: int | None = None
    words: int = 40
    horizon: int = 32
    device: str = "cpu"
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    optimizer: Literal["adamw", "muon"] = "adamw"
    lora_rank: int = 0
    gradient_checkpointing: bool = True
    steps: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            raise ValueError(f"batch_sizes start at 1, got {list(self.batch_sizes)}.")
        if self.steps < FEWEST_STEPS:
            raise ValueError(f"Medians are over at least {FEWEST_STEPS} steps, got {self.steps}.")
        if min(self.words, self.horizon, self.views + 1) < 1 or self.lora_rank < 0:
            raise ValueError(f"words and horizon start at 1, views and lora_rank at 0: {self}.")
