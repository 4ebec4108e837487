"""Chunks in time: which frame is due, and what lies between two of them.

    frame     0       1       2       3
    due at    start   +1/fps  +2/fps  +3/fps     the last one for as long as any other

A robot of another rate than the policy's gets values in between: linear, rotations made rotations
again. Times that fall on a frame give exactly that frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rvq_action.layout import ActionLayout
from rvq_action.rotation import matrix_to_rot6d, rot6d_to_matrix
from vla.deploy.safety.rates import rate_channels

SNAP = 1e-6
"""Of a frame: times that near to one fall on it."""


@dataclass(frozen=True)
class Chunk:
    """A chunk that is being played.

    Attributes:
        actions: float64 [T, D] physical, absolute.
        start: When its first frame is due [s].
        fps: Frames per second as they are played [Hz].
        number: Of the request that it answers.
        layout: Of its channels.
    """

    actions: np.ndarray
    start: float
    fps: float
    number: int
    layout: ActionLayout

    def position(self, now: float) -> float:
        """The frame that is due, 1.5 between the second and the third."""
        position = (now - self.start) * self.fps
        nearest = round(position)
        return float(nearest) if abs(position - nearest) < SNAP else position

    def is_over(self, now: float) -> bool:
        """Whether its last frame has passed."""
        return self.position(now) >= len(self.actions)

    def at(self, position: float) -> np.ndarray:
        """float64 [D] at a position within 0..T."""
        frame = min(int(position), len(self.actions) - 1)
        after = min(frame + 1, len(self.actions) - 1)
        share = position - frame if after > frame else 0.0
        if not share:
            return self.actions[frame]
        between = (1 - share) * self.actions[frame] + share * self.actions[after]
        return straight(between, self.layout)

    def rest(self, now: float) -> np.ndarray:
        """What is left from now on, frame by frame: float64 [n, D]."""
        first = self.position(now)
        count = int(np.ceil(len(self.actions) - first))
        return np.array([self.at(first + i) for i in range(count)]).reshape(-1, self.layout.width)


def straight(values: np.ndarray, layout: ActionLayout) -> np.ndarray:
    """Values [D] whose 6-D rotations are rotations again."""
    values = values.copy()
    for block in layout.rotation_blocks:
        values[block] = matrix_to_rot6d(rot6d_to_matrix(torch.from_numpy(values[block]))).numpy()
    return values


def slowed(values: np.ndarray, layout: ActionLayout, speed: float) -> np.ndarray:
    """Values [D] that are played at a fraction of their rate: velocities shrink with it."""
    return np.where(rate_channels(layout), speed, 1.0) * values


def ensemble(
    frames: Sequence[np.ndarray], ages: Sequence[float], decay: float, layout: ActionLayout
) -> np.ndarray:
    """The mean of what several chunks have for one moment.

    Args:
        frames: float64 [D] of each chunk.
        ages: Of each chunk, in frames.
        decay: m of the weights exp(-m · age): above 0 newer chunks weigh more, below 0 older ones,
            as in ACT (arXiv 2304.13705), whose 0.01 is -0.01 here.
        layout: Of the channels.

    Returns:
        float64 [D].
    """
    exponents = -decay * np.asarray(ages, dtype=np.float64)
    weights = np.exp(exponents - exponents.max())
    mean = (weights[:, None] * np.stack(frames)).sum(0) / weights.sum()
    return straight(mean, layout)
