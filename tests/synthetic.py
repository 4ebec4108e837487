"""Tiny datasets for tests: a known motion, and pictures that tell which frame they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rvq_action.data.writer import LeRobotWriter

FPS = 10
CAMERA = "observation.images.front"
SIZE = (32, 48)
PLACE_V21 = "chunk-{episode_chunk:03d}/episode_{episode_index:06d}"
FEATURES = {"action": ["x", "y", "gripper"], "observation.state": ["x", "y", "gripper"]}


def motion(length: int, seed: int = 0, width: int = 3) -> np.ndarray:
    """[length, width] float32: smooth, different for every seed."""
    time = np.arange(length)[:, None] / FPS
    phase = np.random.default_rng(seed).uniform(0, 6, width)
    return np.sin(time * np.arange(1, width + 1) + phase).astype(np.float32)


def columns(length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The numeric features of an episode; the state lags the action by one frame."""
    action = motion(length, seed)
    return {"action": action, "observation.state": np.concatenate([action[:1], action[:-1]])}


def picture(frame: int) -> np.ndarray:
    """A plain grey uint8 image whose brightness is the frame's number."""
    return np.full((*SIZE, 3), 20 + 5 * (frame % 40), dtype=np.uint8)


def frame_of(image: np.ndarray) -> int:
    """The number that `picture` was given (below 40)."""
    return round((float(image.mean()) - 20) / 5)


def write_v3(
    path: Path,
    lengths: Sequence[int] = (30, 24, 35),
    tasks: Sequence[str] = ("go", "stop"),
    robot: str = "test_arm",
) -> Path:
    """A v3.0 dataset with one camera; episode i does task i modulo the number of tasks."""
    with LeRobotWriter(path, FPS, FEATURES, robot, {CAMERA: SIZE}) as writer:
        for i, length in enumerate(lengths):
            frames = map(picture, range(length))
            writer.add_episode(columns(length, i), {CAMERA: frames}, task=tasks[i % len(tasks)])
    return path


def write_v21(
    path: Path, lengths: Sequence[int] = (30, 24, 35), tasks: Sequence[str] = ("go", "stop")
) -> Path:
    """The same dataset in v2.1: a parquet file and a video per episode, json lines."""
    rows = [_write_episode(path, i, n, i % len(tasks)) for i, n in enumerate(lengths)]
    episodes = [
        {"episode_index": i, "tasks": [tasks[i % len(tasks)]], "length": n}
        for i, n in enumerate(lengths)
    ]
    texts = [{"task_index": i, "task": task} for i, task in enumerate(tasks)]
    _write_lines(path / "meta/tasks.jsonl", texts)
    _write_lines(path / "meta/episodes.jsonl", episodes)
    _write_lines(path / "meta/episodes_stats.jsonl", rows)
    (path / "meta/info.json").write_text(json.dumps(_info_v21(len(lengths))))
    return path


def _info_v21(episodes: int) -> dict[str, Any]:
    numbers = {k: {"dtype": "float32", "shape": [3], "names": n} for k, n in FEATURES.items()}
    index = {"dtype": "int64", "shape": [1], "names": None}
    return {
        "codebase_version": "v2.1",
        "robot_type": "test_arm",
        "fps": FPS,
        "total_episodes": episodes,
        "chunks_size": 2,
        "data_path": f"data/{PLACE_V21}.parquet",
        "video_path": f"videos/{PLACE_V21.replace('/', '/{video_key}/')}.mp4",
        "features": {
            **numbers,
            CAMERA: {
                "dtype": "video",
                "shape": [*SIZE, 3],
                "names": ["height", "width", "channels"],
            },
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), index),
        },
    }


def _write_episode(path: Path, index: int, length: int, task: int) -> dict[str, Any]:
    chunk, name = f"chunk-{index // 2:03d}", f"episode_{index:06d}"
    data = path / f"data/{chunk}/{name}.parquet"
    video = path / f"videos/{chunk}/{CAMERA}/{name}.mp4"
    for file in (data, video, path / "meta/info.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
    values = columns(length, index)
    frame = np.arange(length)
    table = {k: pa.FixedSizeListArray.from_arrays(v.ravel(), 3) for k, v in values.items()}
    table |= {"timestamp": (frame / FPS).astype(np.float32), "frame_index": frame, "index": frame}
    table |= {"episode_index": np.full(length, index), "task_index": np.full(length, task)}
    pq.write_table(pa.table(table), data)
    write_video(video, length)
    statistics = {
        k: {"min": v.min(0), "max": v.max(0), "mean": v.mean(0), "std": v.std(0), "count": [length]}
        for k, v in values.items()
    }
    plain = {f: {k: np.asarray(v).tolist() for k, v in s.items()} for f, s in statistics.items()}
    return {"episode_index": index, "stats": plain}


def write_video(file: Path, length: int, **options: str) -> None:
    """An mp4 of `picture(0)` .. `picture(length - 1)`, a keyframe every five frames."""
    with av.open(str(file), "w", options=options) as container:
        stream = container.add_stream(
            "libx264", rate=FPS, options={"g": "5", "bf": "0", "crf": "10"}
        )
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for i in range(length):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(stream.encode())


def damage(file: Path, count: int = 1024) -> Path:
    """Overwrite bytes in the middle of an mp4's pictures; its index and its length stay."""
    data = bytearray(file.read_bytes())
    begin = data.index(b"mdat") + 4
    end = begin - 8 + int.from_bytes(data[begin - 8 : begin - 4], "big")
    count = min(count, (end - begin) // 4)
    middle = (begin + end) // 2
    data[middle : middle + count] = np.random.default_rng(0).bytes(count)
    file.write_bytes(data)
    return file


def _write_lines(file: Path, rows: Sequence[dict]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
