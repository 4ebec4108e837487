"""Normalised chunks <-> relative actions in the layout's units, linearly.

`chunk = (x - m) / s` with the m and s of `rvq_action.normalize`, so that the training data's
quantiles lie on ±1; nothing is companded. Channels whose unit is `CHUNK_UNIT`, those of a
tokenizer fitted on such chunks, are taken as they are. This is the space in which FAST is used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rvq_action.embodiment import Embodiment
from rvq_action.inputs import AnyArray, read_horizon
from rvq_action.layout import CHUNK_UNIT


class ChunkSpace:
    """The normalised chunks of one embodiment."""

    def __init__(self, known: Embodiment) -> None:
        given = torch.tensor([c.unit == CHUNK_UNIT for c in known.layout.channels])
        self.layout = known.layout
        self.standstill = known.rest.standstill
        self.middle = known.actions.middle.where(~given, 0.0)
        self.scale = known.actions.scale.where(~given, 1.0)
        ends = self.to_chunks(torch.stack([known.range.low, known.range.high]))
        self.largest = float(ends.abs().max())

    def to_motion(self, chunks: Tensor) -> Tensor:
        """[..., D] normalised -> relative actions."""
        return chunks * self.scale + self.middle

    def to_chunks(self, motion: Tensor) -> Tensor:
        """Inverse of `to_motion`."""
        return (motion - self.middle) / self.scale

    def width(self, given: int | None = None) -> int:
        """D, which a caller may state.

        Raises:
            ValueError: It is stated wrongly.
        """
        layout = self.layout
        if given is not None and given != layout.width:
            raise ValueError(
                f"action_dim={given}, but layout {layout.name!r} has {layout.width} channels: "
                f"{', '.join(layout.names)}."
            )
        return layout.width

    def read(self, value: AnyArray | Sequence) -> Tensor:
        """Chunks [B, T, D] or [T, D] (a batch of one) -> float32 [B, T, D] on the CPU.

        Raises:
            ValueError: A wrong shape.
        """
        chunks = torch.as_tensor(value if isinstance(value, Tensor) else np.array(value))
        width = self.layout.width
        if chunks.ndim not in (2, 3) or chunks.shape[-1] != width:
            raise ValueError(
                f"Chunks must be [B, T, {width}] or [T, {width}] with the channels of layout "
                f"{self.layout.name!r}, got {list(chunks.shape)}."
            )
        return chunks.detach().cpu().float().reshape(-1, *chunks.shape[-2:])

    def read_frames(self, value: AnyArray | Sequence | None, batch: int) -> Tensor:
        """What to hold: one frame [D], or one a chunk [B, D], normalised -> motion [B, D].

        Args:
            value: The embodiment's standstill where None.
            batch: B.

        Raises:
            ValueError: A wrong shape, or values that are not finite.
        """
        width = self.layout.width
        if value is None:
            return self.standstill.expand(batch, width)
        frames = torch.as_tensor(value, dtype=torch.float32)
        if frames.shape not in ((width,), (batch, width)) or not frames.isfinite().all():
            raise ValueError(
                f"hold must be finite, [{width}] or [{batch}, {width}], got {value!r}."
            )
        return self.to_motion(frames).expand(batch, width)


def choose_horizon(choices: Sequence[int | None], seconds: float | None, rate: float) -> int:
    """T, the frames of a chunk that is to be decoded.

    Args:
        choices: What was said of it, the first that is known counts.
        seconds: How long training chunks last, where that is known.
        rate: Frames per second.

    Raises:
        ValueError: It is not to be known, or outside 2..128.
    """
    usual = None if seconds is None else round(seconds * rate)
    horizon = next((h for h in (*choices, usual) if h is not None), None)
    if horizon is None:
        raise ValueError(
            "How many frames? Give time_horizon, or encode once: the tokenizer does not say how "
            "long its training chunks were."
        )
    return read_horizon(horizon)
