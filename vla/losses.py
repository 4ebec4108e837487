"""The three terms that train a policy together: `flow + 0.01 · action_ce + 0.01 · multimodal_ce`.

Each has a weight of its own: the two cross-entropies teach different things.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


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


@dataclass(frozen=True)
class SampleLosses:
    """The terms sample by sample, so that sums do not depend on how samples are dealt out.

    Attributes:
        flow: [B], mean squared error of a sample in model space; 0 where it has no flow slots.
        action_ce: [B], mean cross-entropy of its action tokens; 0 where it has none.
        multimodal_ce: [B], mean cross-entropy of its text; 0 where none is to be predicted.
        robots: bool [B], True = a robot's sample; the others teach text.
    """

    flow: Tensor
    action_ce: Tensor
    multimodal_ce: Tensor
    robots: Tensor

    def mean(self, robots: int | None = None, others: int | None = None) -> Losses:
        """Every sample counts once, whatever its frames, channels or words.

        Args:
            robots: What sums over robots' samples are divided by: all of a global batch, where
                this is a part of it; those that are here where not given.
            others: The same of the other samples.
        """
        robots = int(self.robots.sum()) if robots is None else robots
        others = int((~self.robots).sum()) if others is None else others
        robots, others = max(1, robots), max(1, others)
        return Losses(
            self.flow.sum() / robots,
            self.action_ce.sum() / robots,
            self.multimodal_ce.sum() / others,
        )


def token_losses(
    logits: Tensor, targets: Tensor, is_action: Tensor, rows: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of every sample's action tokens, and of its text: [B] each.

    Args:
        logits: [M, vocabulary], at labelled places only.
        targets: int64 [M], the ids to predict.
        is_action: bool [M], True where that is an action token.
        rows: int64 [M], the sample that each is in.
        count: B.
    """
    each = cross_entropy(logits.float(), targets, reduction="none")

    def mean(kind: Tensor) -> Tensor:
        wanted, place = torch.where(kind, each, 0.0), kind.to(each)
        blank = each.new_zeros(count)
        return blank.index_add(0, rows, wanted) / blank.index_add(0, rows, place).clamp(min=1)

    return mean(is_action), mean(~is_action)
