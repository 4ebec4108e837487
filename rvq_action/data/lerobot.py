"""Read LeRobotDatasets v2.1 and v3.0 with pyarrow and av alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from rvq_action.data.images import read_images, stream_images
from rvq_action.data.metadata import (
    DatasetInfo,
    EpisodeRecord,
    load_info,
    load_records,
    load_subtasks,
    load_tasks,
)
from rvq_action.data.parquet import read_table, to_numpy
from rvq_action.data.stored_statistics import FeatureStatistics, load_statistics
from rvq_action.data.video import read_frames, stream_frames

NOT_NUMERIC = ("video", "image", "string")


class LeRobotReader:
    """A LeRobotDataset on disk.

    Args:
        path: The dataset's folder, which holds `meta/info.json`.

    Raises:
        FileNotFoundError: A part of the dataset is missing.
        ValueError: A part of it is damaged, foreign or contradicts another.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.info: DatasetInfo = load_info(self.path)
        self.records: list[EpisodeRecord] = load_records(self.info)
        self._table = lru_cache(maxsize=2)(self._read_table)

    @property
    def fps(self) -> float:
        return self.info.fps

    @property
    def robot_type(self) -> str:
        return self.info.robot_type

    @property
    def features(self) -> dict[str, dict]:
        """The features as stated by meta/info.json: dtype, shape and names of each."""
        return self.info.features

    @property
    def num_episodes(self) -> int:
        return len(self.records)

    @property
    def camera_keys(self) -> tuple[str, ...]:
        """Names of the video features and of the features that hold single images."""
        return self.info.keys("video", "image")

    @cached_property
    def tasks(self) -> dict[int, str]:
        """Task texts by task index."""
        return load_tasks(self.info)

    @cached_property
    def subtasks(self) -> dict[int, str]:
        """Texts of the steps within tasks by subtask index; empty where the dataset has none."""
        return load_subtasks(self.info)

    @cached_property
    def statistics(self) -> FeatureStatistics:
        """Per feature the stored min, max, mean, std, count and, where stored, quantiles."""
        return load_statistics(self.path)

    def channel_names(self, feature: str) -> tuple[str, ...]:
        """One name per number of a feature's row; `feature_0 ..` where info.json has none."""
        stated = self._feature(feature)
        names = _flatten(stated.get("names"))
        width = int(np.prod(stated["shape"]))
        return (
            tuple(names) if len(names) == width else tuple(f"{feature}_{i}" for i in range(width))
        )

    def episode_length(self, index: int) -> int:
        return self._record(index).length

    def episode_tasks(self, index: int) -> tuple[str, ...]:
        return self._record(index).tasks

    def episode(self, index: int) -> dict[str, np.ndarray]:
        """All numeric columns of an episode: [N] for plain numbers, [N, *shape] for lists."""
        record = self._record(index)
        table = self._table(record.data)
        rows = np.flatnonzero(to_numpy(table["episode_index"], (1,), "episode_index") == index)
        if len(rows) != record.length or rows[-1] - rows[0] + 1 != record.length:
            raise ValueError(
                f"{record.data}: episode {index} has {len(rows)} rows, but the table of episodes "
                f"states {record.length} in one piece. The copy is incomplete: repeat it."
            )
        part = table.slice(rows[0], record.length)
        return {
            name: to_numpy(part[name], self.features[name]["shape"], f"{record.data}: {name}")
            for name in part.column_names
        }

    def frames(
        self,
        index: int,
        camera: str,
        timestamps: Sequence[float] | np.ndarray,
        tolerance_s: float | None = None,
    ) -> np.ndarray:
        """A camera's frames of an episode at the given times.

        Args:
            index: The episode.
            camera: One of `camera_keys`.
            timestamps: N times since the episode's start [s], as in its `timestamp` column.
            tolerance_s: Largest accepted distance [s] between a wanted and a stored frame; a
                tenth of a frame where omitted.

        Returns:
            [N, H, W, 3] uint8 RGB.
        """
        record = self._with_camera(index, camera)
        tolerance_s = 0.1 / self.fps if tolerance_s is None else tolerance_s
        times = np.asarray(timestamps, dtype=np.float64).reshape(-1)
        if camera not in record.videos:
            return read_images(record.data, index, camera, times, tolerance_s)
        span = record.videos[camera]
        return read_frames(span.path, times + span.start, tolerance_s)

    def stream_frames(
        self, index: int, camera: str, timestamps: np.ndarray
    ) -> Iterator[np.ndarray]:
        """The frames at ascending times, one by one, in one pass over the video.

        Args and errors as for `frames`.

        Returns:
            An iterator of [H, W, 3] uint8 RGB.
        """
        record = self._with_camera(index, camera)
        times, tolerance_s = np.asarray(timestamps, dtype=np.float64), 0.1 / self.fps
        if camera not in record.videos:
            return stream_images(record.data, index, camera, times, tolerance_s)
        span = record.videos[camera]
        return stream_frames(span.path, times + span.start, tolerance_s)

    def _read_table(self, file: Path) -> pa.Table:
        columns = [n for n, f in self.features.items() if f["dtype"] not in NOT_NUMERIC]
        return read_table(file, columns)

    def _record(self, index: int) -> EpisodeRecord:
        if not 0 <= index < self.num_episodes:
            raise IndexError(f"{self.path} has episodes 0..{self.num_episodes - 1}, not {index}.")
        return self.records[index]

    def _with_camera(self, index: int, camera: str) -> EpisodeRecord:
        if camera not in self.camera_keys:
            raise KeyError(f"{self.path} has no camera {camera!r}; it has {self.camera_keys}.")
        return self._record(index)

    def _feature(self, name: str) -> dict:
        if name not in self.features:
            raise KeyError(f"{self.path} has no feature {name!r}; it has {list(self.features)}.")
        return self.features[name]


def _flatten(names: object) -> list[str]:
    """LeRobot's `names`: null, a list, lists in a dict, or a dict from names to their places."""
    if names is None:
        return []
    if isinstance(names, dict):
        if all(isinstance(place, int) for place in names.values()):
            return [str(name) for name in sorted(names, key=names.__getitem__)]
        names = list(names.values())
    if not isinstance(names, list | tuple):
        return [str(names)]
    return [name for part in names for name in _flatten(part)]
