"""Track: what a robot did in an episode, as shares of the range that channels have in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rvq_action.data.episode import Episode

LEAST_RANGE = 0.05
"""A gripper that moves less in all training together is at rest; of 0 = closed to 1 = open."""


@dataclass(frozen=True)
class Track:
    """One episode.

    Attributes:
        episode: Its number in the dataset.
        task: Its task text without a full stop, empty where it has none.
        fps: Frames per second.
        length: N, its frames.
        grippers: Name in words -> [N], 0 = as closed as it gets, 1 = as open.
        limbs: Name in words -> [N, C], where its channels are in their ranges, 0..1.
    """

    episode: int
    task: str
    fps: float
    length: int
    grippers: dict[str, np.ndarray]
    limbs: dict[str, np.ndarray]

    def frames(self, seconds: float) -> int:
        """A duration in frames, at least one."""
        return max(1, round(seconds * self.fps))


def read_tracks(episodes: Sequence[Episode], train: Sequence[int]) -> list[Track]:
    """Tracks of a dataset's episodes.

    Measured states tell where a limb is. A gripper that no state tells of is taken to follow its
    command.

    Args:
        episodes: All of one dataset.
        train: Positions of those over which ranges are taken.
    """
    layout = episodes[0].layout
    rows = [_positions(episode) for episode in episodes]
    seen = np.concatenate([rows[i] for i in train])
    low = seen.min(0)
    size = seen.max(0) - low
    known = np.isfinite(size)
    parts: dict[str, dict[str, list[int]]] = {"grippers": {}, "limbs": {}}
    for index, channel in enumerate(layout.channels):
        kind = "grippers" if channel.unit == "gripper" else "limbs"
        least = LEAST_RANGE if kind == "grippers" else 0.0
        if known[index] and size[index] > least:
            parts[kind].setdefault(channel.part, []).append(index)
    names = {kind: _in_words(list(found), kind) for kind, found in parts.items()}
    tracks = []
    for episode, row in zip(episodes, rows, strict=True):
        shares = (row - low) / np.where(size > 0, size, 1.0)
        moved = {k: {names[k][p]: shares[:, c] for p, c in parts[k].items()} for k in parts}
        grippers = {name: fingers.mean(1) for name, fingers in moved["grippers"].items()}
        told = episode.index, episode.task.strip().rstrip("."), episode.fps, len(episode)
        tracks.append(Track(*told, grippers, moved["limbs"]))
    return tracks


def _positions(episode: Episode) -> np.ndarray:
    """[N, D] where every channel is; NaN where nobody knows."""
    is_gripper = np.array([c.unit == "gripper" for c in episode.layout.channels])
    commanded = np.where(is_gripper & episode.mask, episode.actions, np.nan)
    return np.where(episode.proprio_mask, episode.proprio, commanded).astype(np.float64)


def _in_words(parts: list[str], kind: str) -> dict[str, str]:
    """Names of parts as questions say them; a robot's only one needs no name."""
    if len(parts) == 1:
        return {parts[0]: "the gripper" if kind == "grippers" else "the robot"}
    suffix = " gripper" if kind == "grippers" else ""
    return {part: f"the {part.replace('_', ' ')}{suffix}" for part in parts}
