"""Real-time chunking: a new chunk that goes on from what the robot is already doing.

Black, Galliker, Levine, *Real-Time Execution of Action Chunking Flow Policies* (arXiv 2506.07339):
in-painting, with the training untouched. While a chunk is computed the robot executes frames of the
last one. The sampler is drawn towards these frames Y, as strongly as the mask W says:

    v(A_τ, τ) + min(β, (1 - τ) / (τ r²)) · (Y - Â) diag(W) ∂Â/∂A_τ     r² = (1-τ)² / (τ² + (1-τ)²)
    Â = A_τ + (1 - τ) v(A_τ, τ)                                        where the flow would end

    W:   1 1 1 | .8 .5 .3 .1 | 0 0 0      executed meanwhile | still in the last chunk | new

The gradient of Â is taken through the network, once in every step of the sampler. A policy that was
trained for it needs none: the executed frames are given to it (`vla.flow.Given`; Black, Ren, Equi,
Levine, *Training-Time Action Conditioning for Efficient Real-Time Chunking*, arXiv 2512.05964).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vla.flow import Velocity, per_frame

MAX_GUIDANCE = 5.0
"""β as in the paper: more makes few steps diverge."""


def soft_mask(horizon: int, delay: int, overlap: int) -> Tensor:
    """W of the frames of a chunk, [T].

    Args:
        horizon: T.
        delay: d, frames that will have been executed when the chunk arrives: weight 1.
        overlap: Frames that the last chunk has, the executed ones included; beyond them weight 0.
    """
    frames = torch.arange(horizon, dtype=torch.float32)
    left = ((overlap - frames) / (overlap - delay + 1)).clamp(0.0, 1.0)
    weights = left * torch.expm1(left) / (math.e - 1)
    weights[:delay] = 1.0
    weights[overlap:] = 0.0
    return weights


@dataclass(frozen=True)
class RealTimeGuidance:
    """Draws a sampler towards committed frames.

    Attributes:
        target: float32 [B, T, D], Y in the space of the flow; anything where the weights are 0.
        weights: float32 [B, T, D] or what goes with it, W; 0 where masked.
        max_guidance: β.
    """

    target: Tensor
    weights: Tensor
    max_guidance: float = MAX_GUIDANCE

    def __call__(self, velocity: Velocity) -> Velocity:
        """The same velocity field, guided."""

        def guided(actions: Tensor, time: Tensor) -> Tensor:
            left = 1 - per_frame(time)
            with torch.enable_grad():
                actions = actions.detach().requires_grad_()
                free = velocity(actions, time)
                end = actions + left * free
                error = (self.weights * (self.target - end)).detach()
                (pull,) = torch.autograd.grad(end, actions, error)
            return free.detach() + self.strength(time) * pull

        return guided

    def strength(self, time: Tensor) -> Tensor:
        """min(β, (1-τ) / (τ r²)) at flow times [B]; β at 0. [B, 1, 1]."""
        at = per_frame(time)
        strength = (at.square() + (1 - at).square()) / (at * (1 - at))
        return strength.clamp(max=self.max_guidance)
