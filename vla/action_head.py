"""Between the tokenizer's model space and the experts: three small maps, in float32 throughout.

In bfloat16 an action of 0.501 and one of 0.502 are the same number, and so are two neighbouring
flow times: these maps keep float32 weights when the experts are cast.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vla.experts import RMSNorm, initialize

PERIODS = (4e-3, 4.0)
"""Shortest and longest period of the flow time's sinusoids."""


def sinusoids(time: Tensor, width: int) -> Tensor:
    """[...] -> [..., width]: sine and cosine of a number in 0..1 at periods from fine to coarse."""
    low, high = (math.log(period) for period in PERIODS)
    period = torch.linspace(low, high, width // 2, device=time.device).exp()
    angle = 2 * math.pi * time[..., None].float() / period
    waves = torch.cat([angle.sin(), angle.cos()], dim=-1)
    return nn.functional.pad(waves, (0, width - waves.shape[-1]))


class ActionHead(nn.Module):
    """Noisy actions into the Action Expert, its hidden states to velocities.

    Args:
        channels: D.
        width: Of the Action Expert.
        eps: Of the final norm.
    """

    def __init__(self, channels: int, width: int, eps: float) -> None:
        super().__init__()
        self.enter = nn.Linear(2 * channels, width)
        self.mix = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.norm = RMSNorm(width, eps)
        self.leave = nn.Linear(width, channels)
        self.apply(initialize)

    def embed(self, noisy: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """What a flow slot starts from.

        Args:
            noisy: [B, T, D], actions on their way from noise to data; 0 where masked.
            mask: bool [B, T, D], True = real.
            time: [B], or [B, T] frame by frame: flow time, 0 = noise, 1 = data.

        Returns:
            float32 [B, T, width].
        """
        with torch.autocast(noisy.device.type, enabled=False):
            action = self.enter(torch.cat([noisy, mask.to(noisy)], dim=-1))
            clock = sinusoids(time.view(len(time), -1), action.shape[-1]).expand_as(action)
            return self.mix(torch.cat([action, clock], dim=-1))

    def velocity(self, hidden: Tensor) -> Tensor:
        """[B, T, width] -> float32 [B, T, D], in model space per flow time."""
        with torch.autocast(hidden.device.type, enabled=False):
            return self.leave(self.norm(hidden.to(self.leave.weight.dtype)))


class ProprioToken(nn.Module):
    """The robot's state as one token of the VL Expert.

    Args:
        channels: D.
        width: Of the VL Expert.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(2 * channels, width)
        self.apply(initialize)

    def forward(self, proprio: Tensor, mask: Tensor) -> Tensor:
        """Normalised state [B, D], 0 where unknown, and its bool mask -> [B, width]."""
        with torch.autocast(proprio.device.type, enabled=False):
            return self.enter(torch.cat([proprio, mask.to(proprio)], dim=-1))
