"""Demonstration: one successful episode of a scripted expert, recorded and kept in a file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla.deploy.robots.metaworld import MetaWorldRobot

SETTLE_STEPS = 5
"""Steps recorded after the first success, so that an episode ends with the task solved."""


@dataclass(frozen=True)
class Demonstration:
    """An episode. Row n holds what was seen before action n.

    Attributes:
        state: [N, D_state] float32.
        action: [N, D] float32.
        images: uint8 [N, H, W, 3] per camera.
        failed_attempts: Starts that the expert failed at before this one.
    """

    state: np.ndarray
    action: np.ndarray
    images: dict[str, np.ndarray]
    failed_attempts: int

    def save(self, path: Path) -> None:
        """Write an npz file, complete or not at all."""
        arrays = {"state": self.state, "action": self.action, "failed": self.failed_attempts}
        arrays |= {f"images/{camera}": frames for camera, frames in self.images.items()}
        partial = path.with_suffix(".partial")
        # numpy's savez_compressed has no level; the fastest is enough and a third of its time.
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> Demonstration:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            cameras = [n.removeprefix("images/") for n in arrays if n.startswith("images/")]
            images = {camera: arrays[f"images/{camera}"] for camera in cameras}
            return cls(arrays["state"], arrays["action"], images, int(arrays["failed"]))


def demonstrate(
    robot: MetaWorldRobot, seeds: Iterable[int], max_steps: int
) -> Demonstration | None:
    """The expert's first success; failed attempts are thrown away and counted.

    Args:
        robot: The robot, reset from each seed in turn.
        seeds: Starts to try.
        max_steps: An attempt longer than this has failed.

    Returns:
        The demonstration, or None where every attempt failed.
    """
    for failed, seed in enumerate(seeds):
        robot.reset(seed)
        rows = _attempt(robot, max_steps)
        if rows is not None:
            states, actions, images = zip(*rows, strict=True)
            frames = {camera: np.stack([i[camera] for i in images]) for camera in images[0]}
            return Demonstration(np.stack(states), np.stack(actions), frames, failed)
    return None


def _attempt(robot: MetaWorldRobot, max_steps: int) -> list[tuple] | None:
    rows: list[tuple] = []
    end = max_steps
    solved = False
    while len(rows) < end:
        action = robot.expert_action()
        rows.append((robot.state(), action, robot.images()))
        success = robot.step(action)
        if success and not solved:
            solved, end = True, len(rows) + SETTLE_STEPS
    return rows if solved else None
