"""Filming attempts: what the cameras saw, side by side, one mp4 per attempt."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vla.evaluation.closed_loop.loop import Robot
from vla.evaluation.closed_loop.starts import Start

CRF = 23


class Film:
    """One attempt.

    Args:
        path: The mp4.
        fps: Frames per second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self.frames: list[np.ndarray] = []

    def watch(self, robot: Robot) -> None:
        """Take a frame."""
        views = np.concatenate(list(robot.images().values()), axis=1)
        self.frames.append(views[: len(views) // 2 * 2, : views.shape[1] // 2 * 2])

    def save(self) -> None:
        """Write the video, whole or not at all."""
        from rvq_action.data.writer_video import encode

        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}")
        height, width, _ = self.frames[0].shape
        encode(self.frames, partial, self.fps, (height, width), CRF)
        partial.replace(self.path)


def film_of(folder: Path, start: Start, count: int, fps: float) -> Film | None:
    """A film of one of the first attempts of a task, None for the others."""
    if start.number >= count:
        return None
    return Film(folder / "videos" / f"{start.task}-{start.number:03d}.mp4", fps)
