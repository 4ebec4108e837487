"""ImageAugmentation and ProprioNoise applied: from a chunk and its moments to samples to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rvq_action.chunk import ActionChunk
from vla.data.augment import ImageAugmentation, ProprioNoise
from vla.images import Image
from vla.samples import Observation, SampleBuilder
from vla.sequence import Sample


class Moment(NamedTuple):
    """What is told and seen just before a chunk.

    Attributes:
        instruction: What to do.
        images: Camera -> uint8 [H, W, 3].
    """

    instruction: str
    images: Mapping[str, Image]


@dataclass(frozen=True)
class Changes:
    """What happens to demonstrations before they are learnt.

    Attributes:
        augmentation: Of the pictures.
        proprio: Of the state that is told.
    """

    augmentation: ImageAugmentation = ImageAugmentation()
    proprio: ProprioNoise = ProprioNoise()

    def samples(
        self,
        builder: SampleBuilder,
        chunk: ActionChunk,
        codes: Tensor,
        moments: Sequence[Moment],
        chances: Sequence[np.random.Generator],
    ) -> list[Sample]:
        """A sample of every row of a chunk.

        Args:
            builder: The policy's.
            chunk: B rows of one robot.
            codes: int64 [B, S, K] of them.
            moments: B of them.
            chances: Where each row's chance comes from.
        """
        proprio = known_proprio(chunk)
        known = builder.tokenizer.embodiments[chunk.embodiment].proprio
        samples = []
        for row, (moment, rng) in enumerate(zip(moments, chances, strict=True)):
            views = {n: self.augmentation.draw(rng).apply(i) for n, i in moment.images.items()}
            shown = self.proprio.apply(proprio[row], known, rng)
            told = proprio[row], moment.instruction, chunk.embodiment, chunk.fps
            given = chunk.actions[row], chunk.mask[row], codes[row], shown
            samples.append(builder.to_learn(Observation(views, *told), *given))
        return samples


def known_proprio(chunk: ActionChunk) -> Tensor:
    """[B, D] the state before each window, NaN where it is unknown."""
    if chunk.anchor is None or chunk.anchor_mask is None:
        return torch.full_like(chunk.actions[:, 0], torch.nan)
    return torch.where(chunk.anchor_mask, chunk.anchor, torch.nan)
