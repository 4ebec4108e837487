"""What the cameras show: decodable, moving, and new at every frame. Decodes a few episodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from rvq_action.data.check.finding import Finding, counted, failed, passed, warned
from rvq_action.data.check.recording import COPY_AGAIN, grouped, one_line
from rvq_action.data.lerobot import LeRobotReader

SAMPLED_EPISODES, SAMPLED_FRAMES = 3, 240
BATCH = 60
"""Frames decoded at once."""
BLOCK = 4
"""Pixels are averaged over blocks of this side."""
VISIBLE = 0.5
"""Mean change between frames, in grey levels, from which something is seen to move."""
FROZEN = 1.0
"""Mean difference from the first frame that no frame of a frozen camera exceeds."""
REPEAT = 0.2
"""A frame repeats the one before if it changes by less than this share of its neighbours."""
NEIGHBOURHOOD = 4
MANY = 0.25


class Motion(NamedTuple):
    """What moves in the pictures of an episode, in mean grey levels.

    Attributes:
        changes: [N - 1] difference of each frame from the one before.
        farthest: Largest difference of a frame from the first one.
    """

    changes: np.ndarray
    farthest: float


def check_pictures(reader: LeRobotReader, whole: bool, progress: bool) -> list[Finding]:
    """Decode and look at the pictures, one row per camera.

    Args:
        reader: The dataset.
        whole: All frames of all episodes instead of the first ones of three.
        progress: Whether to show a progress bar.
    """
    spread = np.linspace(0, reader.num_episodes - 1, SAMPLED_EPISODES).round().astype(int)
    episodes = range(reader.num_episodes) if whole else sorted(set(spread.tolist()))
    total = len(reader.camera_keys) * len(episodes)
    findings = []
    with tqdm(total=total, desc="videos", leave=False, disable=not progress) as bar:
        for camera in reader.camera_keys:
            seen, errors = {}, []
            for index in episodes:
                try:
                    seen[index] = see_motion(reader, index, camera, whole)
                except (OSError, ValueError, IndexError) as error:
                    errors.append((index, one_line(error)))
                bar.update()
            findings.append(_finding(camera, reader.fps, seen, errors))
    return findings


def see_motion(reader: LeRobotReader, index: int, camera: str, whole: bool) -> Motion:
    """Decode an episode's pictures (the first ones unless `whole`) and measure their changes."""
    length = reader.episode_length(index)
    frames = length if whole else min(length, SAMPLED_FRAMES)
    changes, farthest, first, last = [], 0.0, None, None
    for grey in _grey(reader, index, camera, frames):
        first, last = (grey[:1], grey[:1]) if first is None else (first, last)
        changes.append(_difference(np.concatenate([last, grey[:-1]]), grey))
        farthest = max(farthest, float(_difference(first, grey).max()))
        last = grey[-1:]
    return Motion(np.concatenate(changes)[1:], farthest)


def repeated(changes: np.ndarray) -> np.ndarray:
    """Which moving frames repeat the one before.

    Args:
        changes: [N] change of each frame.

    Returns:
        [M] bool, over the M frames around which something moves.
    """
    if not len(changes):
        return np.zeros(0, dtype=bool)
    padded = np.pad(changes, NEIGHBOURHOOD)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURHOOD + 1).max(1)
    moving = around > VISIBLE
    return changes[moving] < REPEAT * around[moving]


def _grey(reader: LeRobotReader, index: int, camera: str, frames: int) -> Iterator[np.ndarray]:
    """The episode's pictures in batches, float32 [n, h, w], thinned out."""
    for first in range(0, frames, BATCH):
        times = np.arange(first, min(first + BATCH, frames)) / reader.fps
        yield _shrunk(reader.frames(index, camera, times))


def _shrunk(pictures: np.ndarray) -> np.ndarray:
    """uint8 [n, H, W, 3] -> float32 [n, H / 4, W / 4], means of blocks."""
    height, width = (side // BLOCK for side in pictures.shape[1:3])
    cut = pictures[:, : height * BLOCK, : width * BLOCK]
    blocks = cut.reshape(len(pictures), height, BLOCK, width, BLOCK, 3)
    return blocks.mean((2, 4, 5), dtype=np.float32)


def _difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.abs(after - before).mean((1, 2))


def _finding(camera: str, fps: float, seen: dict[int, Motion], errors: list) -> Finding:
    name = f"pictures: {camera.removeprefix('observation.images.')}"
    if errors:
        return failed(name, grouped(errors), COPY_AGAIN)
    frozen = [i for i, motion in seen.items() if len(motion.changes) and motion.farthest < FROZEN]
    if frozen:
        fix = "Watch the video: the camera may have stopped or been covered."
        return warned(name, f"nothing moves in episodes {frozen} of {list(seen)}", fix)
    flags = np.concatenate([repeated(motion.changes) for motion in seen.values()])
    share = float(flags.mean()) if len(flags) else 0.0
    looked = counted(len(seen), "episode") + " decoded"
    if share > MANY:
        times = max(2, round(1 / (1 - share)))
        message = (
            f"{share:.0%} of the frames repeat the one before: pictures come at about "
            f"{fps / times:.3g} Hz, each shown {times} times and up to "
            f"{(times - 1) / fps:.2f} s old ({looked})"
        )
        fix = "A policy sees stale pictures: use one in so many frames, or lower the rate."
        return warned(name, message, fix)
    return passed(name, f"new at every frame, {share:.0%} repeated ({looked})")
