"""What is withheld in training, so that a tokenizer does without it later."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from rvq_action.blocks import Condition


@dataclass(frozen=True)
class DropoutRates:
    """Share of the samples from which something is withheld.

    Attributes:
        anchor: The proprio anchor, as a condition.
        embodiment: Which robot it is.
        prefix: A random number of the last tokens.
        noise: Spread of the noise on the anchor, in model space.
    """

    anchor: float = 0.2
    embodiment: float = 0.2
    prefix: float = 0.5
    noise: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            most = math.inf if field.name == "noise" else 1
            if not 0 <= getattr(self, field.name) <= most:
                raise ValueError(f"Dropout {field.name} must lie in [0, {most}]: {self}.")


def drop_condition(
    condition: Condition, rates: DropoutRates, generator: torch.Generator
) -> Condition:
    """Withhold anchor and embodiment, each from samples of its own, and blur the anchor.

    Args:
        condition: Of B samples.
        rates: Shares of the samples.
        generator: Decides which.
    """
    batch = len(condition.embodiment)
    nameless = _chosen(batch, rates.embodiment, generator).to(condition.embodiment.device)
    dropped = replace(condition, embodiment=condition.embodiment.masked_fill(nameless, 0))
    if condition.anchor is None or condition.anchor_mask is None:
        return dropped
    noise = rates.noise * torch.randn(condition.anchor.shape, generator=generator)
    unknown = _chosen(batch, rates.anchor, generator).to(condition.anchor_mask.device)
    anchor = condition.anchor + noise.to(condition.anchor)
    return replace(dropped, anchor=anchor, anchor_mask=condition.anchor_mask & ~unknown[:, None])


def prefix_mask(batch: int, positions: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Which codes the decoder may see: all, or the first k tokens with k drawn evenly.

    Args:
        batch: B.
        positions: int64 [S, K], place of every code in the token order.
        rate: Share of the samples that are cut.
        generator: Decides which, and how far.

    Returns:
        bool [B, S, K].
    """
    tokens = positions.numel()
    length = torch.randint(1, tokens + 1, (batch,), generator=generator)
    length = torch.where(_chosen(batch, rate, generator), length, tokens)
    return positions < length.to(positions.device)[:, None, None]


def token_positions(token_order: list[tuple[int, int]]) -> Tensor:
    """(slot, level) of every token in order -> int64 [S, K], the place of every code."""
    slots, levels = zip(*token_order, strict=True)
    positions = torch.zeros(max(slots) + 1, max(levels) + 1, dtype=torch.int64)
    positions[list(slots), list(levels)] = torch.arange(len(token_order))
    return positions


def _chosen(batch: int, rate: float, generator: torch.Generator) -> Tensor:
    return torch.rand(batch, generator=generator) < rate
