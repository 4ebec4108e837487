"""The three terms that train a policy together: `flow + 0.01 · action_ce + 0.01 · multimodal_ce`.

Each has a weight of its own: the two cross-entropies teach different things.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rvq_action.metrics import masked_mean


@dataclass(frozen=True)
class LossWeights:
    """Attributes:
    flow: Of the flow loss.
    action_ce: Of the cross-entropy of action tokens.
    multimodal_ce: Of the cross-entropy of text.
    """

    flow: float = 1.0
    action_ce: float = 0.01
    multimodal_ce: float = 0.01

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                raise ValueError(f"The weight of {name} must be a number >= 0, got {weight!r}.")


@dataclass(frozen=True)
class Losses:
    """The terms of one batch, scalars; 0 where the batch has nothing to teach.

    Attributes:
        flow: Mean squared error in model space.
        action_ce: Cross-entropy per action token, in nats.
        multimodal_ce: Cross-entropy per token of text, in nats.
    """

    flow: Tensor
    action_ce: Tensor
    multimodal_ce: Tensor

    def total(self, weights: LossWeights) -> Tensor:
        """The weighted sum. A weight of 0 leaves a term out of the graph."""
        used = {name: w for name, w in asdict(weights).items() if w}
        return sum((w * getattr(self, n) for n, w in used.items()), torch.zeros_like(self.flow))


def token_losses(logits: Tensor, targets: Tensor, is_action: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of action tokens, and of text.

    Args:
        logits: [M, rows], at labelled places only.
        targets: int64 [M], the ids to predict.
        is_action: bool [M], True where that is an action token.
    """
    each = cross_entropy(logits.float(), targets, reduction="none")
    return masked_mean(each, is_action), masked_mean(each, ~is_action)
