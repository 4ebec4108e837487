"""A tokenizer as two plain modules of tensors in, tensors out: for compiling and exporting.

Each is for one embodiment, horizon and rate, takes physical units as `ActionTokenizer` does, and
gives what that gives; but it holds tables instead of codebooks that could move, leaves out networks
that say nothing, branches on no value, and checks nothing: what is no chunk or no code is for the
caller to notice.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from rvq_action import embodiment_table
from rvq_action.chunk import ActionChunk
from rvq_action.codebook_tables import CodebookTables
from rvq_action.inputs import read_horizon, read_rate
from rvq_action.model import TokenizerModel
from rvq_action.playback import decode_frames
from rvq_action.tokenizer import ActionTokenizer


class FrozenQuantizer(nn.Module):
    """What `SlotResidualVQ` does at inference, from its tables alone."""

    def __init__(self, tables: CodebookTables) -> None:
        super().__init__()
        for name, table in tables._asdict().items():
            self.register_buffer(name, table.clone())

    @property
    def tables(self) -> CodebookTables:
        return CodebookTables(*(self.get_buffer(name) for name in CodebookTables._fields))

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, s, C] -> codes int64 [B, s, K]."""
        return self.tables.of_slots(latents.shape[1]).encode(latents)

    def dequantize(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, s, k] with k <= K -> [B, s, C]; absent codes add nothing."""
        return self.tables.of_slots(codes.shape[1]).dequantize(codes)


@torch.no_grad()
def frozen(model: TokenizerModel) -> TokenizerModel:
    """A copy that can only encode and decode."""
    held = copy.deepcopy(model).eval().requires_grad_(False)
    held.add_module("quantizer", FrozenQuantizer(model.quantizer.tables))
    for half in (held.encoder, held.decoder):
        if half.network is not None and half.network.is_silent:
            half.network = None
    return held


class _Deployed(nn.Module, ABC):
    """One embodiment of a tokenizer at one horizon and rate.

    Args:
        tokenizer: The tokenizer; left as it is.
        horizon: T, frames of every chunk.
        embodiment: May be left out where the tokenizer knows only one.
        fps: Frames per second; the training data's where omitted.

    Raises:
        ValueError: A horizon outside 2..128, a rate that is no positive number.
        KeyError: An unknown embodiment.
    """

    def __init__(
        self,
        tokenizer: ActionTokenizer,
        horizon: int,
        embodiment: str | None = None,
        fps: float | None = None,
    ) -> None:
        super().__init__()
        tokenizer.layout(embodiment)
        self.name = embodiment or next(iter(tokenizer.embodiments))
        self.known = tokenizer.embodiments[self.name]
        self.number = embodiment_table.row(tokenizer.embodiments, self.name)
        self.path_number = tokenizer.path_number(self.name)
        self.horizon, self.width = read_horizon(horizon), tokenizer.config.width
        self.fps = self.known.fps if fps is None else read_rate(fps)
        self.model = frozen(tokenizer.model)
        # What is computed once and kept must not be born inside of somebody's graph.
        with torch.no_grad():
            self(**{n: t.to(tokenizer.device) for n, t in self.example(batch=1).items()})

    @abstractmethod
    def example(self, batch: int) -> dict[str, Tensor]:
        """Inputs of `forward` by name, for tracing."""


class ChunkEncoder(_Deployed):
    """Actions and proprio -> codes: `ActionTokenizer.encode` of chunks without gaps."""

    def example(self, batch: int) -> dict[str, Tensor]:
        width = self.known.layout.width
        actions = torch.zeros(batch, self.horizon, width)
        return {"actions": actions, "proprio": torch.zeros(batch, width)}

    def forward(self, actions: Tensor, proprio: Tensor) -> Tensor:
        """Encode.

        Args:
            actions: float32 [B, T, D], absolute.
            proprio: float32 [B, D] just before the chunk; NaN where unknown.

        Returns:
            int64 [B, s, K].
        """
        real = torch.ones_like(actions, dtype=torch.bool)
        anchor, anchor_mask = _split(proprio)
        chunk = ActionChunk(actions, real, anchor, anchor_mask, self.fps, self.name)
        given = self.known.to_model(chunk, self.number, self.width, False, self.path_number)
        return self.model.quantizer.encode(self.model.latents_of_whole(given.x, given.condition))


class ChunkDecoder(_Deployed):
    """Codes and proprio -> actions: `ActionTokenizer.decode`."""

    def example(self, batch: int) -> dict[str, Tensor]:
        config = self.model.config
        shape = (batch, config.path_slots[self.path_number], config.num_quantizers)
        codes = torch.zeros(shape, dtype=torch.int64)
        return {"codes": codes, "proprio": torch.zeros(batch, self.known.layout.width)}

    def forward(self, codes: Tensor, proprio: Tensor) -> Tensor:
        """Decode.

        Args:
            codes: int64 [B, s, K]; absent = -1.
            proprio: float32 [B, D] just before the chunk; NaN where unknown.

        Returns:
            float32 [B, T, D], absolute, inside the training range.
        """
        anchor, anchor_mask = _split(proprio)
        duration = proprio.new_full((codes.shape[0],), self.horizon / self.fps)
        where, path = (anchor, anchor_mask), self.path_number
        condition = self.known.condition(*where, self.number, self.width, duration, path)
        frames = decode_frames(self.model, self.known, codes, self.horizon, condition, where)
        return self.known.from_model(frames, anchor, relative=False, fps=self.fps)


def _split(proprio: Tensor) -> tuple[Tensor, Tensor]:
    """Proprio with NaN where unknown -> 0 there, and bool True = known."""
    known = ~proprio.isnan()
    return torch.where(known, proprio, 0.0), known
