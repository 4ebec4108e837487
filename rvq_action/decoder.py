"""Decoder: quantised latents -> cosine components of a chunk.

The transposed linear path of the encoder plus a network that starts at zero. The network sees
which share of each slot's codes is there, so that one decoder serves every prefix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvq_action.blocks import Condition, ConditionEmbedding, ResidualNetwork, full_precision
from rvq_action.config import TokenizerConfig


class Decoder(nn.Module):
    """Quantised latents [B, S, C] and presence [B, S, K] -> [B, F, D]."""

    mean: Tensor
    components: Tensor
    latent_scale: Tensor
    error_scale: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        features = config.num_frequencies * config.width
        latent = config.num_slots * config.slot_width
        self.shape = (config.num_frequencies, config.width)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("components", torch.zeros(latent, features))
        self.register_buffer("latent_scale", torch.ones(latent))
        errors = (config.num_quantizers + 1, config.num_slots, config.slot_width)
        self.register_buffer("error_scale", torch.ones(errors))
        self.condition = ConditionEmbedding(config.width, config.num_embodiments, config.hidden)
        self.network: ResidualNetwork | None = None
        if config.depth:
            tokens = config.num_slots * config.num_quantizers
            self.network = ResidualNetwork(latent + tokens, latent, config.hidden, config.depth)

    def forward(self, quantized: Tensor, present: Tensor, condition: Condition) -> Tensor:
        latents = quantized.flatten(1)
        if self.network is not None and not self.network.is_silent:
            seen = torch.cat([latents / self.latent_scale, present.flatten(1).to(latents)], dim=-1)
            step = self.network(seen, self.condition(condition))
            latents = latents + step * self._expected_error(present)
        with full_precision(latents):
            flat = torch.addmm(self.mean, latents, self.components)
        return flat.unflatten(-1, self.shape)

    def _expected_error(self, present: Tensor) -> Tensor:
        """What is usually left over in each component, given how many levels are there.

        The network's say is measured by it: large while little is known of a slot, small once
        all its levels are there. [B, S, K] -> [B, S·C].
        """
        levels, slots = present.sum(-1), torch.arange(present.shape[1], device=present.device)
        return self.error_scale[levels, slots].flatten(1)
