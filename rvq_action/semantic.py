"""Semantic latents: what the first tokens of a chunk say beyond its motion.

In a *semantic slot* the codes of the first level do not code components of the chunk but a point on
a sphere, where a small network puts the chunk together with its anchor. Terms that compare this
point with what a visual teacher saw make it mean something; the motion is coded by the levels
below and by the other slots, and no image is needed to encode or to decode. Decoder and heads read
the point's code as they read the others, so every other term teaches the network, too.

Semantic latents are the last `semantic_width` of the `slot_width` latents of the first slots.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from rvq_action.blocks import Condition, ConditionEmbedding, ResidualNetwork
from rvq_action.config import TokenizerConfig

DROPOUT = 0.1
LEVEL = 0
"""The level whose codes are semantic."""


class SemanticEncoder(nn.Module):
    """Latents of a chunk's motion [B, s, C] and condition -> [B, M, Q], each of length 1."""

    scale: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.shape = (config.semantic_slots, config.semantic_width)
        latent = config.num_slots * config.slot_width
        self.num_slots = config.num_slots
        self.register_buffer("scale", torch.ones(len(config.path_slots), latent))
        self.condition = ConditionEmbedding(config.width, config.num_embodiments, config.hidden)
        self.dropout = nn.Dropout(DROPOUT)
        points = config.semantic_slots * config.semantic_width
        self.network = ResidualNetwork(latent, points, config.hidden, config.depth, DROPOUT)
        self.network.leave.reset_parameters()

    def forward(self, latents: Tensor, condition: Condition) -> Tensor:
        """No gradient passes from the points to the latents: alignment does not move the motion."""
        whole = pad(latents.detach(), (0, 0, 0, self.num_slots - latents.shape[1])).flatten(1)
        seen = self.dropout(whole / self.scale[condition.path])
        points = self.network(seen, self.condition(condition)).unflatten(-1, self.shape)
        return nn.functional.normalize(points, dim=-1)


def semantic_part(latents: Tensor, config: TokenizerConfig) -> Tensor:
    """The semantic latents [B, M, Q] among latents [B, S, C]."""
    return latents[:, : config.semantic_slots, config.slot_width - config.semantic_width :]


def with_semantic_part(latents: Tensor, points: Tensor, config: TokenizerConfig) -> Tensor:
    """Latents [B, S, C] with [B, M, Q] as their semantic part, whatever stood there."""
    replaced = latents.clone()
    semantic_part(replaced, config)[:] = points
    return replaced
