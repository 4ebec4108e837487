"""Which windows are idle: nothing moves in them, so they teach nothing but rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rvq_action.data.episode import Episode


@dataclass(frozen=True)
class IdleRule:
    """Leaves out idle windows, for training only.

    A window is idle when no channel moves by more than `motion` of its range over the episodes
    given. A position moves by its span within the window; a velocity (a unit that ends in `/s`)
    by its largest size. A channel's range counts as at least a tenth of its group's widest, so
    that the noise of a joint at rest is no motion.

    Attributes:
        motion: Share of the range.
        kept: Share of the idle windows that stay, evenly spread, so that rest is known too.
    """

    motion: float = 0.02
    kept: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.motion < 1 or not 0 <= self.kept <= 1:
            raise ValueError(f"motion and kept are shares between 0 and 1, got {self}.")

    def keep(
        self, episodes: Sequence[Episode], horizon: int, position: np.ndarray, start: np.ndarray
    ) -> np.ndarray:
        """Which windows stay.

        Args:
            episodes: The episodes the windows are cut from.
            horizon: T, frames of a window.
            position: [windows] int, the window's episode in the list.
            start: [windows] int, its first frame.

        Returns:
            [windows] bool.
        """
        idle_at = self.idle_starts(episodes, horizon)
        idle = np.array([idle_at[p][s] for p, s in zip(position, start, strict=True)])
        turn = np.cumsum(idle) * self.kept
        return ~idle | (np.floor(turn) > np.floor(turn - self.kept))

    def idle_starts(self, episodes: Sequence[Episode], horizon: int) -> list[np.ndarray]:
        """Per episode [N] bool: whether the window that starts at a frame is idle."""
        threshold = self.motion * _ranges(episodes)
        return [np.all(_motion(e, horizon) <= threshold, axis=-1) for e in episodes]


def _ranges(episodes: Sequence[Episode]) -> np.ndarray:
    """[D]: each channel's range, at least a tenth of its group's widest."""
    low = np.min([e.actions.min(0) for e in episodes], axis=0)
    high = np.max([e.actions.max(0) for e in episodes], axis=0)
    ranges = high - low
    for indices in episodes[0].layout.groups.values():
        ranges[indices] = np.maximum(ranges[indices], 0.1 * ranges[indices].max())
    return ranges


def _motion(episode: Episode, horizon: int) -> np.ndarray:
    """[N, D]: how far each channel moves in the window that starts at each frame."""
    padded = np.pad(episode.actions, ((0, horizon - 1), (0, 0)), mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, horizon, axis=0)
    span = views.max(-1) - views.min(-1)
    is_velocity = np.array([c.unit.endswith("/s") for c in episode.layout.channels])
    return np.where(is_velocity, np.abs(views).max(-1), span)
