"""What a visual teacher saw around the chunks of a batch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from rvq_action.chunk import ActionChunk
from rvq_action.data.windows import Windows
from tokenizer_training.features.narrow import Features

NEAR_SECONDS, ROUNDING = 1.0, 1e-3
"""Windows of one episode that begin nearer than this to one another show nearly the same."""


@dataclass(frozen=True)
class VisualTargets:
    """A teacher's features around B chunks.

    Attributes:
        first: [B, F] at each chunk's first frame.
        last: [B, F] at its last frame.
        following: [B, F] at the frame right after it.
        seen: bool [B], first and last are known; elsewhere they are 0.
        followed: bool [B], `following` is known.
        episode: int64 [B].
        time: [B] seconds from the episode's start to the chunk's.
    """

    first: Tensor
    last: Tensor
    following: Tensor
    seen: Tensor
    followed: Tensor
    episode: Tensor
    time: Tensor

    def near(self) -> Tensor:
        """bool [B, B], pairs too near to one another to be told apart."""
        together = self.episode[:, None] == self.episode
        return together & ((self.time[:, None] - self.time).abs() < NEAR_SECONDS - ROUNDING)

    def rows(self, rows: Tensor) -> VisualTargets:
        """The targets of some of the chunks."""
        return VisualTargets(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device | str) -> VisualTargets:
        """The same targets on another device."""
        return VisualTargets(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Sample:
    """Chunks of one dataset, with what was seen around them.

    Attributes:
        dataset: Name of the dataset.
        chunk: The chunks.
        targets: None for a dataset without features.
    """

    dataset: str
    chunk: ActionChunk
    targets: VisualTargets | None = None

    def __len__(self) -> int:
        return len(self.chunk)

    @property
    def sighted(self) -> int:
        """How many chunks have pictures."""
        return 0 if self.targets is None else int(self.targets.seen.sum())

    def to(self, device: torch.device | str) -> Sample:
        """The same sample on another device."""
        targets = None if self.targets is None else self.targets.to(device)
        return replace(self, chunk=self.chunk.to(device), targets=targets)


class VisualSource:
    """The features around the windows of one dataset.

    Args:
        features: Of the dataset.
        windows: Of the dataset.
        shuffled: A control: every window gets what was seen around another one, drawn once.
        seed: Of that.
    """

    def __init__(
        self, features: Features, windows: Windows, shuffled: bool = False, seed: int = 0
    ) -> None:
        self.features, self.fps = features, windows.episodes[0].fps
        order = np.arange(len(windows))
        if shuffled:
            order = np.random.default_rng([seed, 2]).permutation(order)
        self._episodes, self._starts = windows.episode_ids[order], windows.starts[order]

    def targets(self, indices: np.ndarray, horizon: int) -> VisualTargets:
        """What was seen around windows.

        Args:
            indices: [B] window numbers.
            horizon: T, frames that the chunks cover in the recording.
        """
        episodes, starts = self._episodes[indices], self._starts[indices]
        frames = np.concatenate([starts, starts + horizon - 1, starts + horizon])
        stacked, known = self.features.lookup(np.tile(episodes, 3), frames)
        first, last, following = stacked.split(len(starts))
        seen, followed = known[: 2 * len(starts)].reshape(2, -1).all(0), known[2 * len(starts) :]
        return VisualTargets(
            first,
            last,
            following,
            seen,
            followed,
            torch.from_numpy(episodes),
            torch.from_numpy(starts / self.fps).float(),
        )
