"""Chunks that were never recorded but could have been: other speeds, other amplitudes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rvq_action.chunk import MAX_HORIZON, MIN_HORIZON, ActionChunk
from rvq_action.layout import ActionLayout, DeltaRule


@dataclass(frozen=True)
class Augmentation:
    """How far chunks are changed.

    Attributes:
        rate: Share of the batches that are changed at all.
        speed: A chunk covers between 1 / speed and speed times its duration; it is either told
            as it is (a longer or shorter chunk) or as the same motion at another speed.
        amplitude: A motion becomes between 1 - amplitude and 1 + amplitude times as large.
    """

    rate: float = 0.5
    speed: float = 1.25
    amplitude: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1 or self.speed < 1 or not 0 <= self.amplitude < 1:
            raise ValueError(
                f"Augmentation needs rate in [0, 1], speed >= 1 and amplitude in [0, 1): {self}."
            )

    def longest(self, horizon: int) -> int:
        """Frames to cut so that every horizon that may be drawn fits."""
        return min(round(horizon * self.speed), MAX_HORIZON) if self.rate else horizon

    def apply(
        self, chunk: ActionChunk, horizon: int, layout: ActionLayout, rng: np.random.Generator
    ) -> ActionChunk:
        """Cut a chunk to a random horizon and scale its motion, or just cut it to `horizon`.

        Args:
            chunk: [B, longest(horizon), D].
            horizon: T, the usual number of frames.
            layout: Says what a motion's amplitude is.
            rng: Decides everything.
        """
        if rng.random() >= self.rate:
            return cut(chunk, horizon)
        factor = self.speed ** rng.uniform(-1, 1)
        frames = int(np.clip(round(horizon * factor), MIN_HORIZON, chunk.horizon))
        shorter = cut(chunk, frames)
        if rng.random() < 0.5:
            shorter = replace(shorter, fps=chunk.fps * frames / horizon)
        factors = rng.uniform(1 - self.amplitude, 1 + self.amplitude, len(chunk))
        return scale_motion(shorter, torch.from_numpy(factors).float(), layout)


def cut(chunk: ActionChunk, horizon: int) -> ActionChunk:
    """The first frames of a chunk."""
    return replace(chunk, actions=chunk.actions[:, :horizon], mask=chunk.mask[:, :horizon])


def scale_motion(chunk: ActionChunk, factors: Tensor, layout: ActionLayout) -> ActionChunk:
    """Scale positions about the anchor and velocities about zero; the rest stays.

    Grippers and rotations stay: a gripper has two ends, and six numbers are no amplitude.

    Args:
        chunk: [B, T, D] absolute.
        factors: [B].
        layout: Says which channels are positions and velocities.
    """
    about = [c.delta is DeltaRule.SUBTRACT and c.unit != "gripper" for c in layout.channels]
    velocity = [c.delta is DeltaRule.RAW and c.unit.endswith("/s") for c in layout.channels]
    origin = torch.zeros_like(chunk.actions[:, :1])
    if chunk.anchor is not None:
        origin = (chunk.anchor * torch.tensor(about))[:, None]
    scaled = origin + factors[:, None, None] * (chunk.actions - origin)
    change = torch.tensor(about) | torch.tensor(velocity)
    return replace(chunk, actions=torch.where(change & chunk.mask, scaled, chunk.actions))
