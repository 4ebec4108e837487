"""Decoder: quantised latents -> frames of a chunk.

The transposed linear path of the encoder plus a network that starts at zero. The network sees
which share of each slot's codes is there, so that one decoder serves every prefix.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

from rvq_action.blocks import Condition, ConditionEmbedding, ResidualNetwork, full_precision
from rvq_action.config import TokenizerConfig
from rvq_action.derived import Derived
from rvq_action.time_basis import to_frames

HORIZONS = 16
"""Numbers of frames whose linear maps are kept."""


class Decoder(nn.Module):
    """Quantised latents [B, S, C] and presence [B, S, K] -> frames [B, T, D]."""

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
        self._frames: dict[int, Derived[tuple[Tensor, Tensor]]] = defaultdict(Derived)

    @property
    def listens(self) -> bool:
        """Whether presence and condition make a difference."""
        return self.network is not None and not self.network.is_silent

    def forward(
        self, quantized: Tensor, present: Tensor | None, condition: Condition | None, horizon: int
    ) -> Tensor:
        """Decode.

        Args:
            quantized: [B, S, C].
            present: bool [B, S, K], the codes that are there. None only where it does not listen:
                then the network is not asked.
            condition: None only where present is.
            horizon: T.
        """
        latents = quantized.flatten(1)
        if self.network is not None and present is not None:
            assert condition is not None
            seen = torch.cat([latents / self.latent_scale, present.flatten(1).to(latents)], dim=-1)
            step = self.network(seen, self.condition(condition))
            latents = latents + step * self._expected_error(present)
        with full_precision(latents):
            return self._to_frames(latents, horizon)

    def _to_frames(self, latents: Tensor, horizon: int) -> Tensor:
        """The linear path, [B, S·C] -> [B, T, D]: one map for both of its steps, once known."""
        if torch.compiler.is_compiling():
            flat = torch.addmm(self.mean, latents, self.components)
            return to_frames(flat.unflatten(-1, self.shape), horizon)
        if len(self._frames) > HORIZONS:
            self._frames.clear()
        mean, components = self._frames[horizon].get(
            (self.mean, self.components), lambda: self._straight_to_frames(horizon)
        )
        return torch.addmm(mean, latents, components).view(-1, horizon, self.shape[1])

    def _straight_to_frames(self, horizon: int) -> tuple[Tensor, Tensor]:
        """What `mean` and `components` are to frames: [T·D] and [S·C, T·D]."""
        both = torch.cat([self.mean[None], self.components]).unflatten(-1, self.shape)
        frames = to_frames(both, horizon).flatten(1)
        return frames[0], frames[1:]

    def _expected_error(self, present: Tensor) -> Tensor:
        """What is usually left over in each component, given how many levels are there.

        The network's say is measured by it: large while little is known of a slot, small once
        all its levels are there. [B, S, K] -> [B, S·C].
        """
        levels, slots = present.sum(-1), torch.arange(present.shape[1], device=present.device)
        return self.error_scale[levels, slots].flatten(1)
