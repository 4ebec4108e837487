"""Cameras: present, and a frame for every row. Reads packets only, so it is quick at any size."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import av
import numpy as np

from rvq_action.data.check.finding import Finding, counted, failed, listed, passed, warned
from rvq_action.data.check.recording import COPY_AGAIN, grouped, one_line
from rvq_action.data.lerobot import LeRobotReader

TOLERANCE_FRAMES = 0.1


def check_cameras(reader: LeRobotReader) -> list[Finding]:
    """One row per camera: whether every row of every episode has its frame."""
    if not reader.camera_keys:
        fix = "Enough for a tokenizer; training with visual alignment or a policy needs a camera."
        return [warned("cameras: present", "no camera", fix)]
    found = passed("cameras: present", listed(reader.camera_keys))
    return [found, *(check_frames(reader, camera) for camera in reader.camera_keys)]


def check_frames(reader: LeRobotReader, camera: str) -> Finding:
    """Compare the times of a camera's stored frames with the rows of the episodes.

    Args:
        reader: The dataset.
        camera: One of its cameras.
    """
    name = f"cameras: {camera.removeprefix('observation.images.')}"
    if reader.features[camera]["dtype"] == "image":
        return passed(name, "one image in every row")
    times, errors, rows = _stored_times(reader, camera), [], defaultdict(int)
    for record in reader.records:
        span = record.videos[camera]
        rows[span.path] += record.length
        stored = times[span.path]
        if isinstance(stored, str):
            errors.append((record.index, stored))
            continue
        wanted = span.start + np.arange(record.length) / reader.fps
        missing = int((_distance(stored, wanted) * reader.fps > TOLERANCE_FRAMES).sum())
        if missing:
            errors.append((record.index, f"{missing} of {record.length} rows have no frame"))
    if errors:
        message = (
            f"out of step in {len(errors)} of {reader.num_episodes} episodes; {grouped(errors)}"
        )
        return failed(name, message, f"The video is truncated or of another rate. {COPY_AGAIN}")
    extra = sum(len(stored) - rows[path] for path, stored in times.items())
    if extra:
        fix = "Frames were dropped from the table or doubled in the video: compare both at the end."
        return warned(
            name, f"{counted(extra, 'frame')} more than rows, in {counted(len(times), 'file')}", fix
        )
    return passed(
        name, f"a frame for each of {sum(rows.values())} rows, in {counted(len(times), 'file')}"
    )


def packet_times(path: Path) -> np.ndarray:
    """Presentation times [s] of a video's frames, sorted, without decoding them.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It is truncated or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            ticks = [p.pts for p in container.demux(stream) if p.pts is not None]
            return np.sort(np.array(ticks, dtype=np.float64)) * float(stream.time_base or 1)
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{path} is truncated or damaged ({one_line(error)})") from error


def _stored_times(reader: LeRobotReader, camera: str) -> dict[Path, np.ndarray | str]:
    """Per video file the times of its frames, or what is wrong with it."""
    times: dict[Path, np.ndarray | str] = {}
    for path in dict.fromkeys(record.videos[camera].path for record in reader.records):
        try:
            times[path] = packet_times(path)
        except (OSError, ValueError) as error:
            times[path] = one_line(error)
    return times


def _distance(stored: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """[N] distance of each wanted time to the nearest stored one."""
    if not len(stored):
        return np.full(len(wanted), np.inf)
    right = np.searchsorted(stored, wanted).clip(1, max(len(stored) - 1, 1))
    neighbours = stored[np.stack([right - 1, right.clip(max=len(stored) - 1)])]
    return np.abs(neighbours - wanted).min(0)
