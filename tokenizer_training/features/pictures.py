"""A dataset seen through its cameras: a few frames in memory at a time, in one pass each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rvq_action.data.lerobot import LeRobotReader
from tokenizer_training.features.recorded import instruction
from tokenizer_training.features.teacher import Frames


@dataclass(frozen=True)
class Pictures:
    """The pictures of a dataset.

    Attributes:
        reader: The dataset.
        cameras: Those looked through, in this order.
    """

    reader: LeRobotReader
    cameras: tuple[str, ...]

    @classmethod
    def open(cls, path: str | Path, cameras: Sequence[str] | None = None) -> Pictures:
        """Open a dataset.

        Args:
            path: Folder of a LeRobotDataset.
            cameras: Names of cameras, with or without `observation.images.`; all where omitted.

        Raises:
            FileNotFoundError: It is no dataset, or a part is missing.
            ValueError: It is damaged, has no camera, or not the one asked for.
        """
        reader = LeRobotReader(path)
        known = reader.camera_keys
        if not known:
            raise ValueError(
                f"{path} has no camera, so there is nothing to look at. Leave it out here; "
                "rvq-train fit trains it without features, beside datasets that have them."
            )
        names = {short_name(camera): camera for camera in known} | {c: c for c in known}
        missing = [camera for camera in cameras or () if camera not in names]
        if missing:
            raise ValueError(
                f"{path} has no camera {missing[0]!r}. Choose from "
                f"{' '.join(map(short_name, known))}."
            )
        chosen = tuple(dict.fromkeys(names[camera] for camera in cameras or known))
        return cls(reader, chosen)

    @property
    def name(self) -> str:
        """The dataset's folder."""
        return self.reader.path.resolve().name

    @property
    def lengths(self) -> tuple[int, ...]:
        """Frames of every episode."""
        return tuple(self.reader.episode_length(i) for i in range(self.reader.num_episodes))

    def instruction(self, episode: int) -> str:
        """The episode's first task text, empty where it has none or a placeholder."""
        return instruction(self.reader, episode)

    def batches(self, episode: int, numbers: np.ndarray, size: int) -> Iterator[Frames]:
        """Frames of an episode from all cameras, in one pass over each video.

        Args:
            episode: Its number.
            numbers: Numbers of the frames, ascending.
            size: Moments of a batch.

        Raises:
            FileNotFoundError: A video is missing.
            ValueError: A video is truncated or damaged; names the file.
        """
        times = self.reader.episode(episode)["timestamp"][numbers]
        streams = [self.reader.stream_frames(episode, camera, times) for camera in self.cameras]
        moments = zip(*streams, strict=True)
        for first in range(0, len(numbers), size):
            count = min(size, len(numbers) - first)
            views = zip(*(next(moments) for _ in range(count)), strict=True)
            yield {camera: np.stack(v) for camera, v in zip(self.cameras, views, strict=True)}


def short_name(camera: str) -> str:
    """A camera's name as people say it."""
    return camera.removeprefix("observation.images.")
