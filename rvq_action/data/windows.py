"""Windows: chunks of a fixed horizon over episodes, gathered many at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rvq_action.chunk import MAX_HORIZON, MIN_HORIZON, ActionChunk, check_horizon
from rvq_action.data.episode import Episode
from rvq_action.data.idle import IdleRule


def horizon_frames(fps: float, seconds: float | None = None) -> int:
    """T, the frames of a chunk.

    Args:
        fps: Frames per second.
        seconds: How long the chunk is to be; None for one second, or as near to it as 2..128
            frames come.

    Raises:
        ValueError: So many seconds are no 2..128 frames; says which are.
    """
    if seconds is None:
        return min(max(round(fps), MIN_HORIZON), MAX_HORIZON)
    if not MIN_HORIZON - 0.5 <= fps * seconds <= MAX_HORIZON + 0.5:
        raise ValueError(
            f"{seconds:g} seconds at {fps:g} Hz are {fps * seconds:g} frames, but a chunk has "
            f"{MIN_HORIZON} to {MAX_HORIZON}: choose from {MIN_HORIZON / fps:.3g} to "
            f"{MAX_HORIZON / fps:.3g} seconds."
        )
    return round(fps * seconds)


class Windows:
    """All windows of T frames over some episodes of one embodiment.

    Args:
        episodes: The episodes; of one embodiment, layout and frame rate.
        horizon: T, frames of a window.
        stride: Frames from one window's start to the next one's.
        tails: Whether windows may overrun the end of their episode; the frames beyond it are
            masked and exactly 0.
        idle: Leaves out windows in which nothing moves; for training only.

    Raises:
        ValueError: The episodes do not belong together, or there is no window at all.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        horizon: int,
        stride: int = 1,
        tails: bool = False,
        idle: IdleRule | None = None,
    ) -> None:
        check_horizon(horizon)
        _check_one_kind(episodes)
        self.episodes = list(episodes)
        self.horizon = horizon
        self._position, self._start = self._list_windows(stride, tails, idle)
        lengths = np.array([len(e) for e in self.episodes])
        self._first_row = torch.from_numpy(np.cumsum(lengths) - lengths)
        self._length = torch.from_numpy(lengths)
        self._actions = _joined([np.where(e.mask, e.actions, 0) for e in self.episodes])
        known = [np.where(e.proprio_mask, e.proprio, 0) for e in self.episodes]
        self._proprio = _joined(known)
        self._mask = torch.from_numpy(np.stack([e.mask for e in self.episodes]))
        self._proprio_mask = torch.from_numpy(np.stack([e.proprio_mask for e in self.episodes]))

    def __len__(self) -> int:
        return len(self._start)

    @property
    def episode_ids(self) -> np.ndarray:
        """[windows] int64: the episode's number in its dataset, per window."""
        return np.array([e.index for e in self.episodes])[self._position]

    @property
    def starts(self) -> np.ndarray:
        """[windows] int64: the first frame within the episode, per window."""
        return self._start

    @property
    def tasks(self) -> list[str]:
        """The task text per window."""
        return [self.episodes[position].task for position in self._position]

    def episode_of(self, index: int) -> int:
        """The number of a window's episode in its dataset."""
        return self.episodes[self._position[index]].index

    def start_of(self, index: int) -> int:
        """A window's first frame within its episode."""
        return int(self._start[index])

    def chunk(self, indices: Sequence[int] | np.ndarray | torch.Tensor | slice) -> ActionChunk:
        """Gather windows.

        Args:
            indices: B window numbers (or a slice).

        Returns:
            Absolute actions [B, T, D]; the anchor is the proprio at each window's first frame,
            None where the dataset has no proprio.
        """
        chosen = indices if isinstance(indices, slice) else np.asarray(indices, dtype=np.int64)
        position = torch.from_numpy(self._position[chosen])
        start = torch.from_numpy(self._start[chosen])
        frame = start[:, None] + torch.arange(self.horizon)
        real = frame < self._length[position, None]
        first = self._first_row[position]
        rows = first[:, None] + torch.minimum(frame, self._length[position, None] - 1)
        mask = real[..., None] & self._mask[position][:, None]
        known = bool(self._proprio_mask.any())
        return ActionChunk(
            actions=self._actions[rows] * mask,
            mask=mask,
            anchor=self._proprio[first + start] if known else None,
            anchor_mask=self._proprio_mask[position] if known else None,
            fps=self.episodes[0].fps,
            embodiment=self.episodes[0].embodiment,
        )

    def _list_windows(self, stride: int, tails: bool, idle: IdleRule | None):
        """Per window its episode's position in the list and its first frame."""
        if stride < 1:
            raise ValueError(f"stride must be at least 1 frame, got {stride}.")
        last = [len(e) - (1 if tails else self.horizon) for e in self.episodes]
        starts = [np.arange(0, end + 1, stride) for end in last]
        positions = [np.full(len(s), i) for i, s in enumerate(starts)]
        position, start = np.concatenate(positions), np.concatenate(starts)
        if not len(start):
            raise ValueError(
                f"No episode has {self.horizon} frames; the longest has "
                f"{max(map(len, self.episodes))}. Use a shorter horizon, or tails=True."
            )
        if idle is not None:
            kept = idle.keep(self.episodes, self.horizon, position, start)
            position, start = position[kept], start[kept]
        return position, start


def _joined(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.float32, copy=False))


def _check_one_kind(episodes: Sequence[Episode]) -> None:
    if not episodes:
        raise ValueError("There are no episodes to cut windows from.")
    kinds = {(e.embodiment, e.fps, e.layout) for e in episodes}
    if len(kinds) > 1:
        names = sorted((embodiment, fps, layout.name) for embodiment, fps, layout in kinds)
        raise ValueError(
            f"Windows need episodes of one embodiment, rate and layout, got {names}. Make one "
            "Windows per dataset."
        )
