"""The parquet tables of a dataset: frames, episodes and tasks, in LeRobot v3.0's layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rvq_action.data.writer_schema import FILES_PER_CHUNK, Schema
from rvq_action.data.writer_stats import column_statistics, pooled_statistics

TASK_INDEX_COLUMN = "__index_level_0__"
"""The name pandas gives an unnamed index; LeRobot looks tasks up by it."""


@dataclass(frozen=True)
class EpisodeRecord:
    """One episode that waits to be written into a shard.

    Attributes:
        index: Its number in the dataset.
        start: Number of frames before it in the dataset.
        task: Its task.
        table: Its frames.
        statistics: Per feature and camera.
        videos: Its encoded video per camera.
    """

    index: int
    start: int
    task: str
    table: pa.Table
    statistics: dict[str, dict[str, list]]
    videos: dict[str, Path]

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.table.num_rows


def frames_table(
    schema: Schema, columns: dict[str, np.ndarray], episode: int, start: int, task: int
) -> pa.Table:
    """The rows of one episode.

    Args:
        schema: What the dataset holds.
        columns: [N, D] per feature, checked.
        episode: The episode's number.
        start: Number of frames before it in the dataset.
        task: The number of its task.
    """
    length = len(next(iter(columns.values())))
    frames = np.arange(length)
    indices = {
        "timestamp": (frames / schema.fps).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(length, episode),
        "index": frames + start,
        "task_index": np.full(length, task),
    }
    arrays = [_arrow_column(columns[name]) for name in schema.features]
    arrays += [pa.array(values) for values in indices.values()]
    return pa.Table.from_arrays(arrays, schema=schema.arrow)


def _arrow_column(values: np.ndarray) -> pa.Array:
    flat = pa.array(values.reshape(-1))
    width = values.shape[1]
    if width == 1:
        return flat
    kind = pa.list_(pa.field("element", flat.type), width)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def write_frames(path: Path, episodes: Sequence[EpisodeRecord]) -> None:
    """One data file, one row group per episode (so that a reader can fetch one alone)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, episodes[0].table.schema) as writer:
        for episode in episodes:
            writer.write_table(episode.table)


def write_episodes(
    path: Path, schema: Schema, shard: int, episodes: Sequence[EpisodeRecord]
) -> None:
    """The rows of `meta/episodes` for one shard."""
    chunk, file = divmod(shard, FILES_PER_CHUNK)
    place = {"chunk_index": chunk, "file_index": file}
    rows, first = [], 0
    for e in episodes:
        row = {"episode_index": e.index, "tasks": [e.task], "length": e.length}
        row |= {f"data/{key}": value for key, value in place.items()}
        row |= {"dataset_from_index": e.start, "dataset_to_index": e.start + e.length}
        span = {"from_timestamp": first / schema.fps}
        span["to_timestamp"] = (first + e.length) / schema.fps
        for camera in schema.cameras:
            row |= {f"videos/{camera}/{k}": v for k, v in (place | span).items()}
        for name, statistics in e.statistics.items():
            row |= {f"stats/{name}/{k}": v for k, v in statistics.items()}
        rows.append(row | {f"meta/episodes/{key}": value for key, value in place.items()})
        first += e.length
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """`meta/tasks.parquet`: the numbers of the tasks, indexed by their text as pandas stores it."""
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), TASK_INDEX_COLUMN: pa.array(tasks)}
    )
    kinds = {"task_index": ("int64", "int64"), TASK_INDEX_COLUMN: ("unicode", "object")}
    described = [
        {
            "name": None if name == TASK_INDEX_COLUMN else name,
            "field_name": name,
            "pandas_type": kind,
            "numpy_type": numpy,
            "metadata": None,
        }
        for name, (kind, numpy) in kinds.items()
    ]
    pandas = {"index_columns": [TASK_INDEX_COLUMN], "column_indexes": [], "columns": described}
    metadata = {"pandas": json.dumps({**pandas, "pandas_version": "2.0.0"})}
    temporary = path.with_name(path.name + ".new")
    pq.write_table(table.replace_schema_metadata(metadata), temporary)
    temporary.replace(path)


def read_tasks(path: Path) -> list[str]:
    """The tasks of `write_tasks`, by number."""
    table = pq.read_table(path).sort_by("task_index")
    return table[TASK_INDEX_COLUMN].to_pylist()


def dataset_statistics(root: Path, schema: Schema) -> dict[str, dict[str, list]]:
    """stats.json of the files under `root`, read back one column at a time.

    Numeric features are exact over all frames; cameras are pooled over the episodes.
    """
    data = sorted((root / "data").glob("chunk-*/*.parquet"))
    metadata = sorted((root / "meta" / "episodes").glob("chunk-*/*.parquet"))
    statistics = {}
    for name in schema.arrow.names:
        parts = [column_values(pq.read_table(p, columns=[name])[name]) for p in data]
        statistics[name] = column_statistics(np.concatenate(parts))
    for camera in schema.cameras:
        names = [n for n in pq.read_schema(metadata[0]).names if n.startswith(f"stats/{camera}/")]
        rows = [row for p in metadata for row in pq.read_table(p, columns=names).to_pylist()]
        stripped = [{k.rsplit("/", 1)[1]: v for k, v in row.items()} for row in rows]
        statistics[camera] = pooled_statistics(stripped)
    return statistics


def column_values(column: pa.ChunkedArray) -> np.ndarray:
    """A column as [N, D], or [N] where it holds plain numbers."""
    array = column.combine_chunks()
    if pa.types.is_fixed_size_list(array.type):
        width = array.type.list_size
        return array.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return array.to_numpy(zero_copy_only=False)
