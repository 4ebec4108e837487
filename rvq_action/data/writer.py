"""LeRobotWriter: writes a LeRobotDataset v3.0 with pyarrow and av, complete or not at all.

with LeRobotWriter(path, fps=30, features={"action": names}, robot_type="arm",
                   cameras={"observation.images.front": (224, 224)}) as writer:
    writer.add_episode({"action": actions}, {"observation.images.front": frames}, task="...")
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from rvq_action.data import writer_staging, writer_video
from rvq_action.data.writer_schema import (
    DATA_PATH,
    EPISODES_PATH,
    FILES_PER_CHUNK,
    VIDEO_PATH,
    Schema,
    columns,
)
from rvq_action.data.writer_stats import FrameHistogram, column_statistics
from rvq_action.data.writer_tables import (
    EpisodeRecord,
    column_values,
    dataset_statistics,
    frames_table,
    read_tasks,
    write_episodes,
    write_frames,
    write_tasks,
)

MEGABYTE = 1 << 20


class LeRobotWriter:
    """Collects episodes and puts the complete dataset at `path` when closed.

    Until then everything lies in `PATH.partial`; a writer that is killed, or left by an
    exception in its `with` block, leaves nothing (or the dataset as it was) at `path`.

    Args:
        path: Folder of the dataset.
        fps: Frames per second; timestamps are `frame / fps`.
        features: Numeric features: a list of channel names (float32), or info.json's
            `{"dtype", "shape": [D], "names"}`.
        robot_type: Name of the robot.
        cameras: (H, W) per camera, both even.
        append: Add to the dataset at `path` where there is one; it must hold the same features.
        data_file_mb: A data file is closed before it grows beyond this.
        video_file_mb: The same for video files.
        crf: libx264's quality; smaller is better. 18 is about 40 dB on camera pictures.

    Raises:
        FileExistsError: `path` exists and `append` is False, or another writer is at it.
        ValueError: A feature or camera is described wrongly, or differs from the existing ones.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        features: Mapping[str, Mapping | Sequence[str]],
        robot_type: str,
        cameras: Mapping[str, Sequence[int]] | None = None,
        *,
        append: bool = False,
        data_file_mb: int = 100,
        video_file_mb: int = 200,
        crf: int = 18,
    ) -> None:
        self.path = Path(path)
        self._schema = Schema.build(fps, features, robot_type, cameras)
        self._limits = (data_file_mb, video_file_mb)
        self._crf = crf
        self._waiting: list[EpisodeRecord] = []
        self._tasks: list[str] = []
        self._episodes = self._frames = self._shards = 0
        self._staging = writer_staging.Staging(self.path, append)
        self._root: Path | None = self._staging.root
        try:
            if (info := self.path / "meta" / "info.json").exists():
                self._continue_from(json.loads(info.read_text(encoding="utf-8")))
        except BaseException:
            self.discard()
            raise
        self._videos = self._root / "encoded_episodes"

    @property
    def num_episodes(self) -> int:
        """Episodes in the dataset so far, including those appended to."""
        return self._episodes

    @property
    def num_frames(self) -> int:
        """Frames in the dataset so far, including those appended to."""
        return self._frames

    def add_episode(
        self,
        features: Mapping[str, object],
        videos: Mapping[str, Iterable[np.ndarray]] | None = None,
        *,
        task: str,
    ) -> int:
        """Add one episode.

        Args:
            features: [N, D] per feature ([N] where D is 1).
            videos: N uint8 [H, W, 3] RGB frames per camera, consumed lazily.
            task: What the robot does, in words; "unlabelled" where nobody knows.

        Returns:
            The episode's number.

        Raises:
            ValueError: Names what is wrong. The episode is left out as a whole; the writer can
                go on with the next one.
        """
        root = self._open_root()
        if not task.strip():
            raise ValueError("An episode needs a task; write 'unlabelled' where nobody knows it.")
        checked = columns(self._schema, features)
        index, length = self._episodes, len(next(iter(checked.values())))
        encoded, pictures = self._encode(index, length, videos or {})
        task_index = self._tasks.index(task) if task in self._tasks else len(self._tasks)
        table = frames_table(self._schema, checked, index, self._frames, task_index)
        numbers = {
            name: column_statistics(column_values(table[name])) for name in table.column_names
        }
        if task_index == len(self._tasks):
            self._tasks.append(task)
        record = EpisodeRecord(index, self._frames, task, table, numbers | pictures, encoded)
        if self._waiting and self._too_large([*self._waiting, record]):
            self._write_shard(root)
        self._waiting.append(record)
        self._episodes += 1
        self._frames += length
        return index

    def add_file(self, name: str, text: str) -> None:
        """Put a file of one's own beside the data: `meta/rvq_mapping.yaml`. LeRobot reads its own.

        Args:
            name: Its path in the dataset.
            text: All of it; it replaces what was there.
        """
        path = self._open_root() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        writer_staging.replace_text(path, text)

    def close(self) -> Path:
        """Write what waits and put the dataset at `path`. A second call does nothing.

        Returns:
            The path of the dataset.

        Raises:
            ValueError: No episode was added; nothing is left at `path`.
        """
        if self._root is None:
            return self.path
        if not self._episodes:
            self.discard()
            raise ValueError(f"No episode was added to {self.path}; nothing was written.")
        root = self._root
        if self._waiting:
            self._write_shard(root)
        shutil.rmtree(self._videos, ignore_errors=True)
        statistics = dataset_statistics(root, self._schema)
        write_tasks(root / "meta" / "tasks.parquet", self._tasks)
        info = self._schema.info(self._episodes, self._frames, len(self._tasks), self._limits)
        writer_staging.replace_text(root / "meta" / "stats.json", json.dumps(statistics, indent=4))
        writer_staging.replace_text(root / "meta" / "info.json", json.dumps(info, indent=4))
        self._root = None
        self._staging.finish()
        return self.path

    def discard(self) -> None:
        """Give up: delete what was written; a dataset appended to stays as it was."""
        if self._root is not None:
            self._root = None
            self._staging.discard()

    def __enter__(self) -> LeRobotWriter:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def _open_root(self) -> Path:
        if self._root is None:
            raise ValueError(
                f"The writer of {self.path} is closed. Open a new one with append=True."
            )
        return self._root

    def _continue_from(self, info: dict) -> None:
        self._schema.check_same(info)
        self._episodes, self._frames = info["total_episodes"], info["total_frames"]
        self._tasks = read_tasks(self.path / "meta" / "tasks.parquet")
        files = [p.relative_to(self.path).parts for p in self.path.glob("*/**/chunk-*/file-*.*")]
        last = max((int(p[-2][6:]), int(p[-1][5:].split(".")[0])) for p in files)
        self._shards = last[0] * FILES_PER_CHUNK + last[1] + 1

    def _encode(
        self, index: int, length: int, videos: Mapping[str, Iterable[np.ndarray]]
    ) -> tuple[dict[str, Path], dict[str, dict[str, list]]]:
        """Encode an episode's videos; their files and statistics per camera."""
        if set(videos) != set(self._schema.cameras):
            raise ValueError(
                f"The episode has videos of {sorted(videos)}; the dataset has cameras "
                f"{sorted(self._schema.cameras)}."
            )
        self._videos.mkdir(parents=True, exist_ok=True)
        paths, statistics = {}, {}
        for position, (camera, size) in enumerate(self._schema.cameras.items()):
            paths[camera] = self._videos / f"{index}-{position}.mp4"
            histogram = FrameHistogram(length)
            frames = map(histogram.add, writer_video.checked(videos[camera], size))
            fps, crf = self._schema.fps, self._crf
            try:
                count = writer_video.encode(frames, paths[camera], fps, size, crf)
            except ValueError as error:
                raise ValueError(f"Camera {camera!r}: {error}") from None
            if count != length:
                raise ValueError(
                    f"Camera {camera!r} gave {count} frames, the features have {length}. Record "
                    "one picture per row."
                )
            statistics[camera] = histogram.statistics()
        return paths, statistics

    def _too_large(self, episodes: Sequence[EpisodeRecord]) -> bool:
        data = sum(e.table.nbytes for e in episodes)
        videos = [sum(e.videos[c].stat().st_size for e in episodes) for c in self._schema.cameras]
        data_limit, video_limit = (limit * MEGABYTE for limit in self._limits)
        return data > data_limit or max(videos, default=0) > video_limit

    def _write_shard(self, root: Path) -> None:
        chunk, file = divmod(self._shards, FILES_PER_CHUNK)
        place = {"chunk_index": chunk, "file_index": file}
        episodes, self._waiting = self._waiting, []
        write_frames(root / DATA_PATH.format(**place), episodes)
        counts = [e.length for e in episodes]
        for camera in self._schema.cameras:
            target = root / VIDEO_PATH.format(video_key=camera, **place)
            target.parent.mkdir(parents=True, exist_ok=True)
            writer_video.join(
                [e.videos[camera] for e in episodes], counts, target, self._schema.fps
            )
        write_episodes(root / EPISODES_PATH.format(**place), self._schema, self._shards, episodes)
        for path in (video for e in episodes for video in e.videos.values()):
            path.unlink()
        self._shards += 1
