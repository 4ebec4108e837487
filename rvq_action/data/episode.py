"""Episode: one recording in a layout, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rvq_action.layout import ActionLayout


@dataclass(frozen=True)
class Episode:
    """One episode in a layout's channels, units and frames.

    Attributes:
        index: Number of the episode in its dataset.
        task: Its task text, empty where it has none or a placeholder.
        fps: Frames per second.
        embodiment: Name of the embodiment.
        layout: The layout of the D channels.
        actions: [N, D] float32, absolute; 0 where absent.
        mask: [D] bool, True where the dataset has the channel.
        proprio: [N, D] float32, the robot's state at each frame; 0 where absent.
        proprio_mask: [D] bool.
    """

    index: int
    task: str
    fps: float
    embodiment: str
    layout: ActionLayout = field(repr=False)
    actions: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    proprio: np.ndarray = field(repr=False)
    proprio_mask: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.actions)
