"""What a LeRobotDataset says about itself: meta/info.json and the table of its episodes.

v2.1 keeps one file per episode and json lines, v3.0 shares files between episodes and keeps
parquet tables. Both end up as the same `EpisodeRecord`s here; nothing else knows the difference.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rvq_action.data.parquet import read_table

V2, V3 = ("v2.0", "v2.1"), ("v3.0",)
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
"""owner/name."""
INFO, MOST = "meta/info.json", 8
"""What makes a folder a dataset; and the most datasets that an error names."""


@dataclass(frozen=True)
class DatasetInfo:
    """meta/info.json, checked."""

    path: Path
    version: str
    fps: float
    robot_type: str
    features: dict[str, dict]
    total_episodes: int
    raw: dict[str, Any] = field(repr=False)

    def keys(self, *dtypes: str) -> tuple[str, ...]:
        """Names of the features of these dtypes."""
        return tuple(name for name, f in self.features.items() if f["dtype"] in dtypes)

    def file(self, template: str, **values: Any) -> Path:
        """A path from one of info.json's templates (`data_path`, `video_path`)."""
        return self.path / self.raw[template].format(**values)


@dataclass(frozen=True)
class VideoSpan:
    """Where a camera's picture of an episode lies: a file and the episode's start in it [s]."""

    path: Path
    start: float = 0.0


@dataclass(frozen=True)
class EpisodeRecord:
    """One row of the table of episodes."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    videos: dict[str, VideoSpan]


def check_folder(path: Path) -> None:
    """Refuse a dataset that is no folder, or a folder of datasets.

    Raises:
        FileNotFoundError: Says how to get one, where the name may be one of the hub's; or which
            datasets lie inside.
    """
    if path.is_dir():
        inside = sorted(str(file.parents[1]) for file in path.glob(f"*/{INFO}"))
        if inside and not (path / INFO).is_file():
            more = f" and {len(inside) - MOST} more" if len(inside) > MOST else ""
            raise FileNotFoundError(
                f"{path} is no LeRobotDataset, but a folder with some: {', '.join(inside[:MOST])}"
                f"{more}. Give one of them."
            )
        return
    hint = ""
    if HUB_ID.fullmatch(str(path)):
        hint = (
            " Datasets are read from local folders; one of the hub is downloaded by: hf download "
            f"{path} --repo-type dataset --local-dir {path.name}"
        )
    raise FileNotFoundError(f"There is no folder {path}.{hint}")


def load_info(path: Path) -> DatasetInfo:
    """Read and check meta/info.json.

    Raises:
        FileNotFoundError: There is no such folder, or it is no LeRobotDataset.
        ValueError: A key is missing, the version is foreign, or there are no episodes.
    """
    check_folder(path)
    file = path / INFO
    if not file.is_file():
        raise FileNotFoundError(f"{path} is no LeRobotDataset: it has no {INFO}.")
    raw = parse_json(file.read_text(), file)
    needed = ("codebase_version", "fps", "features", "total_episodes", "data_path")
    missing = [key for key in needed if key not in raw]
    if missing:
        raise ValueError(f"{file} lacks {missing}. It is incomplete: copy it again.")
    version = raw["codebase_version"]
    if version not in (*V2, *V3):
        raise ValueError(
            f"{file}: codebase_version {version!r} is not supported, only {[*V2, *V3]}. "
            "Convert the dataset with LeRobot's conversion script."
        )
    if not raw["total_episodes"]:
        raise ValueError(f"{path} has no episodes. Record some, or finish the interrupted copy.")
    if not raw["fps"] > 0:
        raise ValueError(f"{file}: fps must be positive, got {raw['fps']!r}.")
    robot = raw.get("robot_type") or "unknown"
    fps, features, episodes = float(raw["fps"]), raw["features"], raw["total_episodes"]
    return DatasetInfo(path, version, fps, robot, features, episodes, raw)


def load_records(info: DatasetInfo) -> list[EpisodeRecord]:
    """The table of episodes, in order.

    Raises:
        ValueError: Episodes are missing, numbered with gaps, or without frames.
    """
    records = _records_v2(info) if info.version in V2 else _records_v3(info)
    records.sort(key=lambda record: record.index)
    if [r.index for r in records] != list(range(info.total_episodes)):
        raise ValueError(
            f"{info.path}: meta/info.json states {info.total_episodes} episodes, but the table of "
            f"episodes lists {len(records)} (or skips some). The copy is incomplete: repeat it."
        )
    empty = [record.index for record in records if record.length < 1]
    if empty:
        raise ValueError(f"{info.path}: episodes {empty} have no frames. Remove them.")
    return records


def load_tasks(info: DatasetInfo) -> dict[int, str]:
    """Task texts by task index."""
    if info.version in V2:
        rows = json_lines(info.path / "meta" / "tasks.jsonl")
        return {row["task_index"]: row["task"] for row in rows}
    return _texts(info.path / "meta" / "tasks.parquet", "task")


def load_subtasks(info: DatasetInfo) -> dict[int, str]:
    """Texts of the steps that tasks consist of, by subtask index; none where it has no such table.

    Raises:
        ValueError: The table is damaged.
    """
    file = info.path / "meta" / "subtasks.parquet"
    return _texts(file, "subtask") if file.is_file() else {}


def _texts(file: Path, name: str) -> dict[int, str]:
    """The texts of a table by their index; pandas' unnamed index holds them, or a column does."""
    table = read_table(file, None)
    text = name if name in table.column_names else "__index_level_0__"
    if not {text, f"{name}_index"} <= set(table.column_names):
        raise ValueError(
            f"{file} must have the columns {name}_index and {name}, got {table.column_names}."
        )
    rows = table.select([f"{name}_index", text]).to_pylist()
    return {row[f"{name}_index"]: row[text] for row in rows}


def _records_v2(info: DatasetInfo) -> list[EpisodeRecord]:
    return [_record_v2(info, row) for row in json_lines(info.path / "meta" / "episodes.jsonl")]


def _record_v2(info: DatasetInfo, row: dict) -> EpisodeRecord:
    index = row["episode_index"]
    place = {"episode_index": index, "episode_chunk": index // info.raw.get("chunks_size", 1000)}
    videos = {
        camera: VideoSpan(info.file("video_path", video_key=camera, **place))
        for camera in info.keys("video")
    }
    data = info.file("data_path", **place)
    return EpisodeRecord(index, row["length"], tuple(row.get("tasks") or ()), data, videos)


def _records_v3(info: DatasetInfo) -> list[EpisodeRecord]:
    files = sorted((info.path / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
    if not files:
        raise FileNotFoundError(f"{info.path} has no meta/episodes. Copy the dataset again.")
    columns = ["episode_index", "length", "tasks", "data/chunk_index", "data/file_index"]
    for camera in info.keys("video"):
        columns += [f"videos/{camera}/{c}" for c in ("chunk_index", "file_index", "from_timestamp")]
    rows = (row for file in files for row in read_table(file, columns).to_pylist())
    return [_record_v3(info, row) for row in rows]


def _record_v3(info: DatasetInfo, row: dict) -> EpisodeRecord:
    def file(template: str, prefix: str, **values: str) -> Path:
        chunk, number = row[f"{prefix}/chunk_index"], row[f"{prefix}/file_index"]
        return info.file(template, chunk_index=chunk, file_index=number, **values)

    videos = {
        camera: VideoSpan(
            file("video_path", f"videos/{camera}", video_key=camera),
            row[f"videos/{camera}/from_timestamp"],
        )
        for camera in info.keys("video")
    }
    tasks = tuple(row["tasks"] or ())
    return EpisodeRecord(
        row["episode_index"], row["length"], tasks, file("data_path", "data"), videos
    )


def json_lines(file: Path) -> list[dict]:
    """The rows of a json-lines file."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing. Copy or download the dataset again.")
    return [parse_json(line, file) for line in file.read_text().splitlines() if line.strip()]


def parse_json(text: str, file: Path) -> dict:
    """Parse JSON; the file is named where it is damaged."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is no valid JSON ({error}). Copy it again.") from error
