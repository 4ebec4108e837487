"""Where training chunks set off from, and how a decoded chunk is joined to it without a jump.

A chunk's first frame lies close to the anchor: its relative motion has a range of its own, far
narrower than the whole chunk's. A decoded chunk that sets off from outside it (wrong tokens, or
only the first few) is shifted so that its first frame lies inside; the shift fades out linearly
towards the last frame, so that no other frame jumps instead. Channels without an anchor, a gripper
say, set off from nothing: all that training showed of them is theirs from the first frame on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rvq_action.bounds.training_range import TrainingRange
from rvq_action.branching import may_look
from rvq_action.layout import ActionLayout, DeltaRule
from rvq_action.statistics import ChannelStatistics, EmbodimentStatistics

STRICT = 5e-5
"""Of a channel's range: half of what `TrainingRange.contains` allows."""


class StartRange:
    """Range of the first frame's relative actions, inside that of all frames."""

    def __init__(
        self, statistics: EmbodimentStatistics, whole: TrainingRange, layout: ActionLayout
    ) -> None:
        self.whole = whole
        start = statistics.start
        known = start and _completed(start, statistics.actions, layout)
        self.first = TrainingRange(known, layout) if known else None

    def join(self, relative: Tensor) -> Tensor:
        """Chunks [B, T, D] inside the training range -> the same, setting off inside theirs."""
        if self.first is None:
            return relative
        start = relative[:, 0]
        outside = self.leaves(start)
        if not may_look(relative):
            return torch.where(outside[:, None, None], self._moved(relative, start), relative)
        if not outside.any():
            return relative
        joined = relative.clone()
        joined[outside] = self._moved(relative[outside], start[outside])
        return joined

    def leaves(self, start: Tensor) -> Tensor:
        """bool [B], whether first frames [B, D] lie outside.

        Told more strictly than `contains` tells it of the result, which may be rounded on its way
        to whoever asks.
        """
        assert self.first is not None
        return (~self.first.contains(start, STRICT)).any(-1)

    def _moved(self, relative: Tensor, start: Tensor) -> Tensor:
        """Chunks [n, T, D] that set off elsewhere, [n, D], brought inside."""
        assert self.first is not None
        first = self.first.clamp(start)
        fade = torch.linspace(1.0, 0.0, relative.shape[1], device=start.device)[:, None]
        moved = self.whole.clamp(relative + (first - start)[:, None] * fade.to(start.dtype))
        return torch.cat([first[:, None], moved[:, 1:]], dim=1)


def _completed(
    start: ChannelStatistics, whole: ChannelStatistics, layout: ActionLayout
) -> ChannelStatistics:
    """The range of first frames, no wider than that of all frames.

    Channels that no first frame showed, and those without an anchor, have the range of all frames.
    """
    anchored = np.array([channel.delta is not DeltaRule.RAW for channel in layout.channels])
    seen = anchored & (np.array(start.count) > 0) & (np.array(whole.count) > 0)
    bounds = {
        "min": np.maximum(start.min, whole.min),
        "max": np.minimum(start.max, whole.max),
        "mean": start.mean,
        "count": start.count,
    }
    chosen = {n: np.where(seen, own, getattr(whole, n)).tolist() for n, own in bounds.items()}
    return replace(start, **chosen)
