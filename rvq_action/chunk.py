"""ActionChunk: the data contract between datasets, tokenizer and trainer, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

MIN_HORIZON, MAX_HORIZON = 2, 128
TENSORS = ("actions", "mask", "anchor", "anchor_mask")


@dataclass(frozen=True)
class ActionChunk:
    """A batch of action chunks of one embodiment, in physical units.

    Attributes:
        actions: [B, T, D] float32, absolute; masked entries are 0.
        mask: [B, T, D] bool, True = real.
        anchor: [B, D] float32, proprio just before the chunk in the layout's channels, or None.
        anchor_mask: [B, D] bool, True where the anchor is known; None exactly when anchor is.
        fps: Frames per second.
        embodiment: Name of the embodiment, the key of its statistics.
    """

    actions: Tensor
    mask: Tensor
    anchor: Tensor | None
    anchor_mask: Tensor | None
    fps: float
    embodiment: str

    def __post_init__(self) -> None:
        if self.actions.ndim != 3:
            raise ValueError(f"actions must be [B, T, D], got {list(self.actions.shape)}.")
        check_horizon(self.actions.shape[1])
        if not 0 < self.fps < math.inf:
            raise ValueError(f"fps must be a positive number of frames per second: {self.fps}.")
        if self.mask.shape != self.actions.shape or self.mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be bool {tuple(self.actions.shape)} like the actions, got "
                f"{self.mask.dtype} {tuple(self.mask.shape)}."
            )
        if (self.anchor is None) != (self.anchor_mask is None):
            raise ValueError("Give anchor and anchor_mask together, or neither.")
        per_chunk = self.actions[:, 0].shape
        if self.anchor is not None and self.anchor_mask is not None:
            shapes = self.anchor.shape, self.anchor_mask.shape
            if shapes != (per_chunk, per_chunk) or self.anchor_mask.dtype != torch.bool:
                raise ValueError(
                    f"anchor and its bool mask must be {list(per_chunk)}, got "
                    f"{list(self.anchor.shape)}, {self.anchor_mask.dtype} "
                    f"{list(self.anchor_mask.shape)}."
                )

    @property
    def horizon(self) -> int:
        """T, the number of frames."""
        return self.actions.shape[1]

    def __len__(self) -> int:
        return self.actions.shape[0]

    def rows(self, rows: Tensor) -> ActionChunk:
        """Some chunks of the batch, int64 [n]."""
        parts = {name: getattr(self, name) for name in TENSORS}
        return replace(self, **{n: t[rows] for n, t in parts.items() if t is not None})

    def to(self, device: torch.device | str) -> ActionChunk:
        """The same chunk on another device."""
        tensors = {name: getattr(self, name) for name in TENSORS}
        return replace(self, **{n: t.to(device) for n, t in tensors.items() if t is not None})


def check_horizon(horizon: int) -> None:
    """Refuse a horizon outside 2..128 frames.

    Raises:
        ValueError: Names the horizon and the bounds.
    """
    if not MIN_HORIZON <= horizon <= MAX_HORIZON:
        raise ValueError(
            f"A chunk of {horizon} frames is outside {MIN_HORIZON}..{MAX_HORIZON}. Cut the "
            "actions into chunks of about one second, or lower the frame rate."
        )
