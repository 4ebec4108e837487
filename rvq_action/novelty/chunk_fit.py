"""Whether chunks are like those that a tokenizer was fitted on.

Two things tell that they are not. *Residual*: all tokens together leave over more than they did in
training; motion of another shape, from another robot or at another rate does that. *Saturation*:
values lie beyond ±1 in model space, where 2 % of the training values do; other units do that. The
proprio counts as well, since units that make motions smaller (radians for degrees) can be seen
there alone. What is usual of both says `rvq_action.novelty.calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rvq_action.chunk import ActionChunk
from rvq_action.metrics import masked_mean_per_chunk
from rvq_action.playback import Playback

if TYPE_CHECKING:
    from rvq_action.tokenizer import ActionTokenizer

BATCH = 512


@dataclass(frozen=True)
class ChunkFit:
    """How much chunks are like training; tensors, or arrays as the actions were.

    Attributes:
        residual: [B], mean squared error in model space with all tokens.
        saturation: [B], how far beyond ±1 actions and proprio are in model space, mean of each,
            added.
        out_of_distribution: [B], the larger of the two in units of the worst percent of the
            calibration windows: above 1 a chunk is worse than 99 % of them.
    """

    residual: np.ndarray | Tensor
    saturation: np.ndarray | Tensor
    out_of_distribution: np.ndarray | Tensor

    def numpy(self) -> ChunkFit:
        """The same with arrays for tensors."""
        fields = self.residual, self.saturation, self.out_of_distribution
        return ChunkFit(*(torch.as_tensor(field).cpu().numpy() for field in fields))


def measure_chunk(tokenizer: ActionTokenizer, chunk: ActionChunk) -> tuple[Tensor, Tensor]:
    """Residuals [B] and saturations [B] of absolute chunks."""
    known = tokenizer.embodiments[chunk.embodiment]
    parts = []
    with torch.inference_mode():
        for rows in torch.arange(len(chunk), device=chunk.actions.device).split(BATCH):
            part = chunk.rows(rows)
            given = tokenizer.prepare(part)
            parts.append(measure(Playback(tokenizer.model, known, part, given, False)))
    residual, saturation = (torch.cat(values) for values in zip(*parts, strict=True))
    return residual, saturation


def measure(playback: Playback) -> tuple[Tensor, Tensor]:
    """Residuals [B] and saturations [B]."""
    given, model = playback.given, playback.model
    codes = model.encode(given.x, given.mask, given.condition)
    residual = playback.mse(codes, torch.arange(len(codes), device=codes.device))
    saturation = masked_mean_per_chunk(_beyond(given.x), given.mask)
    anchor, known = given.condition.anchor, given.condition.anchor_mask
    if anchor is not None and known is not None:
        saturation = saturation + masked_mean_per_chunk(_beyond(anchor), known)
    return residual, saturation


def _beyond(x: Tensor) -> Tensor:
    return (x.abs() - 1).clamp(min=0)
