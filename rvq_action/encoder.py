"""Encoder: cosine components of a chunk -> latents.

A linear path of each robot's own (the closed form: a rotation onto energy-ordered components,
dealt out to the slots it fills, in units that all robots share) plus a network that starts at zero
and learns what a rotation cannot do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvq_action.blocks import Condition, ConditionEmbedding, ResidualNetwork, full_precision
from rvq_action.config import TokenizerConfig


class Encoder(nn.Module):
    """[B, F, D] -> latents [B, s, C] of the s slots that the robot fills."""

    mean: Tensor
    components: Tensor
    latent_scale: Tensor
    error_scale: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        features = config.num_frequencies * config.width
        latent = config.num_slots * config.slot_width
        self.slots = (config.num_slots, config.slot_width)
        paths = len(config.path_slots)
        self.filled = config.path_slots
        self.register_buffer("mean", torch.zeros(paths, features))
        self.register_buffer("components", torch.zeros(paths, latent, features))
        self.register_buffer("latent_scale", torch.ones(paths, latent))
        self.register_buffer("error_scale", torch.ones(paths, latent))
        self.condition = ConditionEmbedding(config.width, config.num_embodiments, config.hidden)
        self.network: ResidualNetwork | None = None
        if config.depth:
            self.network = ResidualNetwork(latent, latent, config.hidden, config.depth)

    def forward(self, coefficients: Tensor, condition: Condition) -> Tensor:
        path = condition.path
        with full_precision(coefficients):
            latents = (coefficients.flatten(1) - self.mean[path]) @ self.components[path].T
        if self.network is not None and not self.network.is_silent:
            step = self.network(latents / self.latent_scale[path], self.condition(condition))
            latents = latents + step * self.error_scale[path]
        return latents.unflatten(-1, self.slots)[:, : self.filled[path]]
