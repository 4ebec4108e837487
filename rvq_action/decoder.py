"""Decoder: quantised latents -> frames of a chunk.

The way back of the encoder's linear path plus a network that starts at zero. The network sees
which share of each slot's codes is there, so that one decoder serves every prefix.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from rvq_action.blocks import Condition, ConditionEmbedding, ResidualNetwork, full_precision
from rvq_action.config import TokenizerConfig
from rvq_action.derived import Derived
from rvq_action.time_basis import to_frames

HORIZONS = 16
"""Numbers of frames and of channels, and robots, whose linear maps are kept."""


class Decoder(nn.Module):
    """Quantised latents [B, s, C] and presence [B, s, K] of s filled slots -> frames [B, T, D]."""

    mean: Tensor
    components: Tensor
    latent_scale: Tensor
    error_scale: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        features = config.num_frequencies * config.width
        latent = config.num_slots * config.slot_width
        self.shape = (config.num_frequencies, config.width)
        paths, self.num_slots = len(config.path_slots), config.num_slots
        self.register_buffer("mean", torch.zeros(paths, features))
        self.register_buffer("components", torch.zeros(paths, latent, features))
        self.register_buffer("latent_scale", torch.ones(paths, latent))
        errors = (paths, config.num_quantizers + 1, config.num_slots, config.slot_width)
        self.register_buffer("error_scale", torch.ones(errors))
        self.condition = ConditionEmbedding(config.width, config.num_embodiments, config.hidden)
        self.network: ResidualNetwork | None = None
        if config.depth:
            tokens = config.num_slots * config.num_quantizers
            self.network = ResidualNetwork(latent + tokens, latent, config.hidden, config.depth)
        self._frames: dict[tuple[int, int, int], Derived[tuple[Tensor, Tensor]]] = defaultdict(
            Derived
        )

    @property
    def listens(self) -> bool:
        """Whether presence and condition make a difference."""
        return self.network is not None and not self.network.is_silent

    def forward(
        self,
        quantized: Tensor,
        present: Tensor | None,
        condition: Condition,
        horizon: int,
        channels: int | None = None,
    ) -> Tensor:
        """Decode.

        Args:
            quantized: [B, s, C].
            present: bool [B, s, K], the codes that are there. None only where it does not listen:
                then the network is not asked.
            condition: What the network may know, and whose linear path it is.
            horizon: T.
            channels: Decode only so many, the first ones; None for all D.
        """
        latents = quantized.flatten(1)
        if self.network is not None and present is not None:
            latents = latents + self._say(quantized, present, condition)
        with full_precision(latents):
            return self._to_frames(latents, horizon, condition.path, channels or self.shape[1])

    def _say(self, quantized: Tensor, present: Tensor, condition: Condition) -> Tensor:
        """What the network adds to the latents, [B, s·C]."""
        assert self.network is not None
        empty, path = self.num_slots - quantized.shape[1], condition.path
        latents = pad(quantized, (0, 0, 0, empty)).flatten(1) / self.latent_scale[path]
        whole = pad(present, (0, 0, 0, empty))
        seen = torch.cat([latents, whole.flatten(1).to(latents)], dim=-1)
        step = self.network.say(seen, condition.heard or self._heard(condition))
        said = step * self._expected_error(whole, path)
        return said[:, : quantized.shape[1] * quantized.shape[2]]

    def hear(self, condition: Condition) -> Condition:
        """The same condition, heard once for all codes that are decoded under it."""
        return replace(condition, heard=self._heard(condition)) if self.listens else condition

    def _heard(self, condition: Condition) -> tuple[Tensor, ...]:
        assert self.network is not None
        return self.network.hear(self.condition(condition))

    def _to_frames(self, latents: Tensor, horizon: int, path: int, channels: int) -> Tensor:
        """The linear path, [B, s·C] -> [B, T, D]: one map for both of its steps, once known."""
        filled = latents.shape[1]
        if torch.compiler.is_compiling():
            flat = torch.addmm(self.mean[path], latents, self.components[path, :filled])
            return to_frames(flat.unflatten(-1, self.shape)[..., :channels], horizon)
        if len(self._frames) > HORIZONS:
            self._frames.clear()
        mean, components = self._frames[path, horizon, channels].get(
            (self.mean, self.components), lambda: self._straight_to_frames(horizon, path, channels)
        )
        return torch.addmm(mean, latents, components[:filled]).view(-1, horizon, channels)

    def _straight_to_frames(self, horizon: int, path: int, channels: int) -> tuple[Tensor, Tensor]:
        """What a path's `mean` and `components` are to frames: [T·D] and [S·C, T·D]."""
        both = torch.cat([self.mean[path, None], self.components[path]]).unflatten(-1, self.shape)
        frames = to_frames(both[..., :channels], horizon).flatten(1)
        return frames[0], frames[1:]

    def _expected_error(self, present: Tensor, path: int) -> Tensor:
        """What is usually left over in each component, given how many levels are there.

        The network's say is measured by it: large while little is known of a slot, small once
        all its levels are there. [B, S, K] -> [B, S·C].
        """
        levels, slots = present.sum(-1), torch.arange(present.shape[1], device=present.device)
        return self.error_scale[path][levels, slots].flatten(1)
