"""FrameStore: a dataset's pictures at the policy's size, decoded once where memory allows.

Reading one frame of a video means decoding from its last keyframe. Training returns to every frame
again and again, so that small datasets are better held decoded; what is trained on is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from rvq_action.data.lerobot import LeRobotReader
from vla.images import Image, fit

logger = logging.getLogger(__name__)
CHANNELS = 3


class FrameStore:
    """The pictures of some cameras in some episodes.

    Args:
        reader: The dataset.
        cameras: The policy's name of a camera -> the dataset's feature.
        size: Pixels per side.
        times: Episode -> [N] s since its start, of its frames.
    """

    def __init__(
        self,
        reader: LeRobotReader,
        cameras: Mapping[str, str],
        size: int,
        times: Mapping[int, np.ndarray],
    ) -> None:
        self.reader, self.cameras, self.size, self.times = reader, cameras, size, times
        self._held: dict[tuple[int, str], np.ndarray] = {}

    @property
    def bytes(self) -> int:
        """What all pictures take when they are held."""
        frames = sum(map(len, self.times.values()))
        return frames * len(self.cameras) * self.size**2 * CHANNELS

    def hold(self) -> None:
        """Decode everything, video by video in one pass.

        Raises:
            ValueError: A video is damaged, or lacks a frame.
        """
        for episode, times in self.times.items():
            for camera, key in self.cameras.items():
                shape = len(times), self.size, self.size, CHANNELS
                held = np.empty(shape, dtype=np.uint8)
                for row, image in enumerate(self.reader.stream_frames(episode, key, times)):
                    held[row] = fit(image, self.size)
                self._held[episode, camera] = held

    def at(self, episode: int, frame: int) -> dict[str, Image]:
        """Camera -> its picture, uint8 [size, size, 3], at a frame of an episode."""
        return {camera: self._picture(episode, camera, frame) for camera in self.cameras}

    def _picture(self, episode: int, camera: str, frame: int) -> Image:
        held = self._held.get((episode, camera))
        if held is not None:
            return held[frame]
        times = self.times[episode][frame : frame + 1]
        return fit(self.reader.frames(episode, self.cameras[camera], times)[0], self.size)


def hold_frames(stores: Sequence[FrameStore], memory: float) -> None:
    """Hold what fits, small datasets first.

    Args:
        stores: Of the datasets.
        memory: GB (10^9 bytes) for all of them.
    """
    left = memory * 1e9
    for store in sorted(stores, key=lambda store: store.bytes):
        if store.bytes > left:
            logger.info(
                "The pictures of %s would take %.1f GB: they are decoded as they are needed. "
                "frame_memory gives them more room.",
                *(store.reader.path, store.bytes / 1e9),
            )
        elif store.bytes:
            store.hold()
            left -= store.bytes
