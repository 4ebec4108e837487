"""An episode at another frame rate.

Between two frames a channel runs straight, a 6-D rotation turns about one axis at a steady rate,
and a switch, a channel that knows but two values, keeps the earlier one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rvq_action.data.episode import Episode
from rvq_action.layout import ActionLayout
from rvq_action.rotation import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_rot6d,
    rot6d_to_matrix,
)


def resample(episode: Episode, fps: float) -> Episode:
    """The episode at `fps` frames per second, as far as it goes."""
    last = (len(episode) - 1) / episode.fps
    times = np.arange(int(last * fps + 1e-6) + 1) / fps * episode.fps
    place = np.minimum(times + 1e-9, len(episode) - 1)
    actions = _read(episode.actions, place, episode.layout) * episode.mask
    proprio = _read(episode.proprio, place, episode.layout) * episode.proprio_mask
    return replace(episode, fps=fps, actions=actions, proprio=proprio)


def _read(values: np.ndarray, place: np.ndarray, layout: ActionLayout) -> np.ndarray:
    """[N, D] at fractional frames [n] -> [n, D] float32."""
    lower = place.astype(int)
    upper = np.minimum(lower + 1, len(values) - 1)
    share = (place - lower)[:, None]
    result = values[lower] * (1 - share) + values[upper] * share
    switches = [c for c in range(values.shape[1]) if len(np.unique(values[:, c])) <= 2]
    result[:, switches] = values[lower][:, switches]
    for block in layout.rotation_blocks:
        first, second = (torch.from_numpy(values[at][:, block]).double() for at in (lower, upper))
        result[:, block] = _turned(first, second, torch.from_numpy(share)).numpy()
    return result.astype(np.float32)


def _turned(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Rotations [n, 6] a share [n, 1] of the way from the first to the second."""
    start, end = rot6d_to_matrix(first), rot6d_to_matrix(second)
    way = matrix_to_axis_angle(start.transpose(-1, -2) @ end)
    return matrix_to_rot6d(start @ axis_angle_to_matrix(share * way))
