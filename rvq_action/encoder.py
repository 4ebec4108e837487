"""Encoder: cosine components of a chunk -> latents.

A linear path (the closed form: a rotation onto energy-ordered components, dealt out to the
slots) plus a network that starts at zero and learns what a rotation cannot do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvq_action.blocks import Condition, ConditionEmbedding, ResidualNetwork, full_precision
from rvq_action.config import TokenizerConfig


class Encoder(nn.Module):
    """[B, F, D] -> latents [B, S, C]."""

    mean: Tensor
    components: Tensor
    latent_scale: Tensor
    error_scale: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        features = config.num_frequencies * config.width
        latent = config.num_slots * config.slot_width
        self.slots = (config.num_slots, config.slot_width)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("components", torch.zeros(latent, features))
        self.register_buffer("latent_scale", torch.ones(latent))
        self.register_buffer("error_scale", torch.ones(latent))
        self.condition = ConditionEmbedding(config.width, config.num_embodiments, config.hidden)
        self.network: ResidualNetwork | None = None
        if config.depth:
            self.network = ResidualNetwork(latent, latent, config.hidden, config.depth)

    def forward(self, coefficients: Tensor, condition: Condition) -> Tensor:
        with full_precision(coefficients):
            latents = (coefficients.flatten(1) - self.mean) @ self.components.T
        if self.network is not None and not self.network.is_silent:
            step = self.network(latents / self.latent_scale, self.condition(condition))
            latents = latents + step * self.error_scale
        return latents.unflatten(-1, self.slots)
