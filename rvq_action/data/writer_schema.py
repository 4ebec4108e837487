"""What a dataset holds: features and cameras, as LeRobot v3.0's info.json and parquet say it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

CODEBASE_VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
FILES_PER_CHUNK = 1000
DTYPES = ("float32", "float64", "int64", "int32", "bool")
INDEX_FEATURES = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


@dataclass(frozen=True)
class Schema:
    """The features of a dataset.

    Attributes:
        fps: Frames per second.
        features: Numeric features as in info.json: `dtype`, `shape` [D], `names`.
        robot_type: Name of the robot.
        cameras: (H, W) of each camera, both even.
    """

    fps: float
    features: dict[str, dict]
    robot_type: str
    cameras: dict[str, tuple[int, int]]

    @classmethod
    def build(
        cls,
        fps: float,
        features: Mapping[str, Mapping | Sequence[str]],
        robot_type: str,
        cameras: Mapping[str, Sequence[int]] | None,
    ) -> Schema:
        """Check and complete a description.

        Raises:
            ValueError: Names the feature or camera and what it should be.
        """
        if not fps > 0:
            raise ValueError(f"fps must be a positive number of frames per second, got {fps}.")
        if not features:
            raise ValueError("A dataset needs at least one feature, usually 'action'.")
        complete = {name: _feature(name, spec) for name, spec in features.items()}
        sizes = {name: _size(name, shape) for name, shape in (cameras or {}).items()}
        if clash := set(complete) & set(sizes):
            raise ValueError(f"{sorted(clash)} are given both as features and as cameras.")
        return cls(int(fps) if fps == int(fps) else fps, complete, robot_type, sizes)

    @property
    def arrow(self) -> pa.Schema:
        """The columns of the data files."""
        fields = [(name, _arrow_type(spec)) for name, spec in self.features.items()]
        indices = [(n, pa.from_numpy_dtype(np.dtype(d))) for n, d in INDEX_FEATURES.items()]
        return pa.schema([*fields, *indices])

    def info_features(self) -> dict[str, dict]:
        """The `features` entry of info.json."""
        indices = {
            name: {"dtype": dtype, "shape": [1], "names": None}
            for name, dtype in INDEX_FEATURES.items()
        }
        cameras = {name: self._camera(size) for name, size in self.cameras.items()}
        return {**self.features, **cameras, **indices}

    def _camera(self, size: tuple[int, int]) -> dict:
        video = {"height": size[0], "width": size[1], "codec": "h264", "pix_fmt": "yuv420p"}
        video |= {"is_depth_map": False, "fps": self.fps, "channels": 3}
        return {
            "dtype": "video",
            "shape": [*size, 3],
            "names": ["height", "width", "channels"],
            "info": {**{f"video.{k}": v for k, v in video.items()}, "has_audio": False},
        }

    def info(self, episodes: int, frames: int, tasks: int, sizes_mb: tuple[int, int]) -> dict:
        """info.json for so many episodes, frames and tasks.

        Args:
            episodes: Number of episodes.
            frames: Number of frames.
            tasks: Number of distinct tasks.
            sizes_mb: Bounds of data and video files.
        """
        return {
            "codebase_version": CODEBASE_VERSION,
            "robot_type": self.robot_type,
            "total_episodes": episodes,
            "total_frames": frames,
            "total_tasks": tasks,
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": sizes_mb[0],
            "video_files_size_in_mb": sizes_mb[1],
            "fps": self.fps,
            "splits": {"train": f"0:{episodes}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH,
            "features": self.info_features(),
        }

    def check_same(self, info: Mapping) -> None:
        """Refuse to append to a dataset that holds something else.

        Raises:
            ValueError: Names what differs.
        """
        mine = self.info(0, 0, 0, (0, 0))
        for key in ("codebase_version", "robot_type", "fps", "features"):
            ours, theirs = json.dumps(mine[key], sort_keys=True), info.get(key)
            if ours != json.dumps(theirs, sort_keys=True):
                raise ValueError(
                    f"Cannot append: the existing dataset's {key} is {theirs}, the writer's is "
                    f"{mine[key]}. Write to a new path instead."
                )


def columns(schema: Schema, values: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Check the arrays of one episode against the schema.

    Args:
        schema: What the dataset holds.
        values: [N, D] (or [N] where D is 1) per feature.

    Returns:
        The arrays in the schema's types, [N, D].

    Raises:
        ValueError: Names the feature and what is wrong: missing, unknown, shape, length, NaN.
    """
    unknown, missing = set(values) - set(schema.features), set(schema.features) - set(values)
    if unknown or missing:
        raise ValueError(
            f"The episode lacks features {sorted(missing)} and has unknown ones "
            f"{sorted(unknown)}; the dataset holds {sorted(schema.features)}."
        )
    checked = {name: _column(name, schema.features[name], value) for name, value in values.items()}
    lengths = {name: len(value) for name, value in checked.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(
            f"The features of an episode must have the same number of frames, at least one; got "
            f"{lengths}."
        )
    return {name: checked[name] for name in schema.features}


def _column(name: str, spec: dict, value: object) -> np.ndarray:
    array, width = np.asarray(value), spec["shape"][0]
    if array.ndim == 1 and width == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"{name!r} has shape {array.shape}, expected [frames, {width}].")
    target = np.dtype(spec["dtype"])
    if not np.can_cast(array.dtype, target, casting="same_kind"):
        raise ValueError(f"{name!r} holds {array.dtype}, which {target} cannot; convert it first.")
    array = array.astype(target)
    if target.kind == "f" and not np.isfinite(array).all():
        frame, channel = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(
            f"{name!r} is {array[frame, channel]} at frame {frame}, channel {channel}. Repair or "
            "leave out the episode; a dataset holds finite numbers only."
        )
    return array


def _feature(name: str, spec: Mapping | Sequence[str]) -> dict:
    if name in INDEX_FEATURES:
        raise ValueError(f"{name!r} is written by the writer itself; leave it out of the features.")
    if not isinstance(spec, Mapping):
        spec = {"dtype": "float32", "shape": [len(spec)], "names": list(spec)}
    if unknown := set(spec) - {"dtype", "shape", "names"}:
        raise ValueError(f"Feature {name!r} has unknown entries {sorted(unknown)}.")
    dtype, shape, names = spec.get("dtype"), list(spec.get("shape", ())), spec.get("names")
    if dtype not in DTYPES:
        raise ValueError(f"Feature {name!r} has dtype {dtype!r}; choose one of {DTYPES}.")
    if len(shape) != 1 or shape[0] < 1:
        raise ValueError(f"Feature {name!r} has shape {shape}; expected [number of channels].")
    if names is not None and len(names) != shape[0]:
        raise ValueError(f"Feature {name!r} has {shape[0]} channels but {len(names)} names.")
    return {"dtype": dtype, "shape": shape, "names": None if names is None else list(names)}


def _size(name: str, shape: Sequence[int]) -> tuple[int, int]:
    size = tuple(int(x) for x in shape)[:2]
    if (
        len(size) != 2
        or min(size) < 2
        or any(x % 2 for x in size)
        or tuple(shape[2:]) not in ((), (3,))
    ):
        raise ValueError(
            f"Camera {name!r} has size {tuple(shape)}; expected (height, width), both even "
            "(H.264 stores colour at half resolution)."
        )
    return size


def _arrow_type(spec: dict) -> pa.DataType:
    element, width = pa.from_numpy_dtype(np.dtype(spec["dtype"])), spec["shape"][0]
    return element if width == 1 else pa.list_(pa.field("element", element), width)
