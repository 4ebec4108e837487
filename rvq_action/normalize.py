"""Physical units <-> model space, channel by channel.

x̃ = (x - m) / s with m = (q99 + q01) / 2 and s = max((q99 - q01) / 2, 0.05 · (max - min) / 2):
the quantiles land on ±1 and a channel that hardly ever moves is not blown up; one that only differs
by the rounding of float32 is constant, with s = 1. Beyond ±1.5 the
scale turns logarithmic (*companding*), so that a rare large motion keeps its size without taking
every bit: nothing is clipped, and the way back is exact. Masked entries are exactly 0.

Scored space, in which errors are told beside other tokenizers', is the same with all beyond ±1.5
clipped instead, so it can be had from model space. `rvq-analysis` takes m and s from all training
episodes, a tokenizer from those among them that it was fitted on, not from its validation episodes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rvq_action.branching import may_look
from rvq_action.statistics import ChannelStatistics, is_constant

FLOOR = 0.05
KNEE, SOFTNESS = 1.5, 0.25
SMALL = 4096
"""Numbers that are looked at for less than a call of torch costs."""


def compress(x: Tensor) -> Tensor:
    """Identity up to ±1.5, logarithmic beyond."""
    inner = x.clamp(-KNEE, KNEE)
    if _is_inner(x, inner):
        return inner
    beyond = x - inner
    return inner + beyond.sign() * SOFTNESS * torch.log1p(beyond.abs() / SOFTNESS)


def expand(x: Tensor) -> Tensor:
    """Inverse of `compress`."""
    inner = x.clamp(-KNEE, KNEE)
    if _is_inner(x, inner):
        return inner
    beyond = x - inner
    return inner + beyond.sign() * SOFTNESS * torch.expm1(beyond.abs() / SOFTNESS)


def to_scored(x: Tensor) -> Tensor:
    """Model space -> scored space, with the m and s of the tokenizer's own statistics."""
    return x.clamp(-KNEE, KNEE)


def _is_inner(x: Tensor, inner: Tensor) -> bool:
    """Whether a small tensor has nothing beyond the knee, as most single chunks have not.

    To look takes a fifth of the time of going on.
    """
    return may_look(x) and x.numel() <= SMALL and torch.equal(x, inner)


class Normalizer:
    """Normalises the channels of one embodiment."""

    @torch.inference_mode(False)
    def __init__(self, statistics: ChannelStatistics) -> None:
        low, high = torch.tensor(statistics.q01), torch.tensor(statistics.q99)
        smallest, largest = torch.tensor(statistics.min), torch.tensor(statistics.max)
        scale = torch.maximum((high - low) / 2, FLOOR * (largest - smallest) / 2)
        still = is_constant(np.array(statistics.min), np.array(statistics.max))
        self.seen = torch.tensor(statistics.count) > 0
        self.middle = (high + low) / 2
        self.scale = torch.where(torch.from_numpy(still), 1.0, scale)
        self.lowest = compress((smallest - self.middle) / self.scale)
        self.highest = compress((largest - self.middle) / self.scale)

    def normalize(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[..., D] physical -> [..., D] around [-1, 1]; masked entries exactly 0."""
        normalized = compress((x - self.middle.to(x)) / self.scale.to(x))
        return normalized if mask is None else torch.where(mask, normalized, 0.0)

    def denormalize(self, x: Tensor) -> Tensor:
        """Inverse of `normalize`, kept within the training range so that it stays finite."""
        return torch.addcmul(self.middle.to(x), expand(self.clamp(x)), self.scale.to(x))

    def clamp(self, x: Tensor) -> Tensor:
        """[..., D] in model space, kept within the training range."""
        return torch.clamp(x, self.lowest.to(x), self.highest.to(x))
