"""Noticing actions that cannot be in the units of the training data."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from rvq_action.bounds.training_range import TrainingRange
from rvq_action.layout import ActionLayout
from rvq_action.normalize import Normalizer

SHARE = 0.2
NARROWEST = 1e-3


class OutOfRangeWarning(UserWarning):
    """Actions lie so far outside the training range that their units are probably others."""


class RangeWatch:
    """Warns once of an embodiment's channels whose values are far out of the training range.

    A value is far out where it leaves the range by more than the range's width; a channel is
    named where more than a fifth of its real values in a batch are. No recording of the same
    robot comes near that, while other units do by far, unless they make the values smaller.
    """

    @torch.inference_mode(False)
    def __init__(self, normalizer: Normalizer, known: TrainingRange, layout: ActionLayout) -> None:
        width = (known.high - known.low).clamp(min=NARROWEST)
        self.low = normalizer.normalize(known.low - width)
        self.high = normalizer.normalize(known.high + width)
        self.layout = layout
        self.warned = False

    def look(self, x: Tensor, mask: Tensor) -> None:
        """Look at a batch that `ActionTokenizer.encode` was given.

        Args:
            x: [B, T, D_model] in model space.
            mask: bool [B, T, D_model], True = real.
        """
        if self.warned:
            return
        width = self.layout.width
        x, mask = x[..., :width], mask[..., :width]
        if torch.equal(x, x.clamp(self.low.to(x), self.high.to(x))):
            return
        far = ((x < self.low.to(x)) | (x > self.high.to(x))) & mask
        share = far.sum((0, 1)) / mask.sum((0, 1)).clamp(min=1)
        channels = (share > SHARE).nonzero().flatten().tolist()
        if channels:
            self.warned = True
            warnings.warn(self._words(channels), OutOfRangeWarning, stacklevel=3)

    def _words(self, channels: list[int]) -> str:
        far = [self.layout.channels[channel] for channel in channels]
        named = ", ".join(f"{channel.name} [{channel.unit}]" for channel in far)
        return (
            f"Actions are far outside the training range in {named}, relative to proprio where the "
            "layout says so. They are probably not in the layout's units: rows of a dataset or "
            "robot go through its mapping first (`tokenizer.mapping(embodiment)`, or --mapping)."
        )
