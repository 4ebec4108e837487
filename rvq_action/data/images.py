"""Cameras of LeRobotDatasets without video: one encoded image per row of the data."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from rvq_action.data.parquet import read_table, to_numpy


def read_images(
    path: Path, episode: int, camera: str, timestamps: np.ndarray, tolerance_s: float
) -> np.ndarray:
    """The images of an episode nearest to the given times.

    Args:
        path: The data file that holds the episode.
        episode: Its number.
        camera: The image feature.
        timestamps: N times since the episode's start [s].
        tolerance_s: Largest accepted distance [s] to an image's own timestamp.

    Returns:
        [N, H, W, 3] uint8 RGB.

    Raises:
        ValueError: A time has no image within the tolerance, or an image is damaged.
    """
    return np.stack(list(stream_images(path, episode, camera, timestamps, tolerance_s)))


def stream_images(
    path: Path, episode: int, camera: str, timestamps: np.ndarray, tolerance_s: float
) -> Iterator[np.ndarray]:
    """The same images one by one; only their encoded bytes are in memory.

    Yields:
        [H, W, 3] uint8 RGB.
    """
    table = read_table(path, ["episode_index", "timestamp", camera])
    rows = np.flatnonzero(to_numpy(table["episode_index"], (1,), "episode_index") == episode)
    times = to_numpy(table["timestamp"], (1,), "timestamp")[rows].astype(np.float64)
    distance = np.abs(times[None] - timestamps[:, None])
    if len(timestamps) and distance.min(1).max() > tolerance_s:
        wanted = timestamps[distance.min(1).argmax()]
        raise ValueError(
            f"{path}: episode {episode} has no image of {camera!r} within {tolerance_s:.4g} s of "
            f"{wanted:.4f} s. Raise tolerance_s if the offset is known and harmless."
        )
    chosen = rows[distance.argmin(1)]
    stored = table[camera].take(chosen).to_pylist()
    for cell, row in zip(stored, chosen, strict=True):
        yield _decode(cell, f"{path}, row {row}")


def _decode(cell: dict | None, where: str) -> np.ndarray:
    data = (cell or {}).get("bytes")
    if not data:
        raise ValueError(f"{where} holds no image bytes. Embed the images in the dataset.")
    try:
        with av.open(io.BytesIO(data), "r") as container:
            return next(container.decode(video=0)).to_ndarray(format="rgb24")
    except (av.FFmpegError, StopIteration) as error:
        raise ValueError(f"{where} holds a damaged image ({error}). Copy it again.") from error
