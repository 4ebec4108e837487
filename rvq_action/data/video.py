"""Video frames by timestamp, decoded in one forward pass from the nearest keyframe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from rvq_action.data.concealment import decode, is_damaged

_SEEK_AHEAD_S = 2.0
"""A gap longer than this is jumped to the next wanted keyframe instead of being decoded."""


def read_frames(
    path: Path, timestamps: Sequence[float] | np.ndarray, tolerance_s: float
) -> np.ndarray:
    """The frames nearest to the given times.

    Args:
        path: A video file.
        timestamps: N times in the file [s], in any order, repeats allowed.
        tolerance_s: Largest accepted distance [s] between a wanted and a found time.

    Returns:
        [N, H, W, 3] uint8 RGB, in the order of the timestamps.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: The file is truncated or damaged, or a time has no frame within the tolerance.
            Damage that its decoder does not notice is not found.
    """
    wanted, order = np.unique(np.asarray(timestamps, dtype=np.float64), return_inverse=True)
    return np.stack(list(stream_frames(path, wanted, tolerance_s)))[order.reshape(-1)]


def stream_frames(path: Path, timestamps: np.ndarray, tolerance_s: float) -> Iterator[np.ndarray]:
    """The same frames one by one, so that a long video needs no memory; times must ascend.

    Yields:
        [H, W, 3] uint8 RGB.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. Copy or download the dataset again.")
    try:
        with av.open(str(path)) as container:
            yield from _nearest(container, timestamps, tolerance_s, path)
    except av.FFmpegError as error:
        raise ValueError(
            f"{path} cannot be decoded; it is truncated or damaged ({error}). Copy it again."
        ) from error


def _nearest(container, wanted: np.ndarray, tolerance_s: float, path: Path) -> Iterator[np.ndarray]:
    """Yield one picture per wanted time (ascending).

    One reformatter serves all frames: setting up the colour conversion costs more than using it.
    """
    to_rgb = VideoReformatter()
    frames, last, now = iter(()), None, None
    for time in wanted:
        if now is None or time - now.time > _SEEK_AHEAD_S:
            frames, last, now = _decode_from(container, time, path), None, None
        while now is None or now.time < time:
            following = next(frames, None)
            if following is None:
                break
            last, now = now, following
        near = min((f for f in (last, now) if f), key=lambda f: abs(f.time - time), default=None)
        if near is None or abs(near.time - time) > tolerance_s:
            nearest = "none" if near is None else f"{near.time:.4f} s"
            raise ValueError(
                f"{path} has no frame within {tolerance_s:.4g} s of {time:.4f} s (nearest: "
                f"{nearest}). The video is truncated or out of step with the timestamps; copy it "
                "again, or raise tolerance_s if the offset is known and harmless."
            )
        yield to_rgb.reformat(near, format="rgb24").to_ndarray()


def _decode_from(container, time: float, path: Path) -> Iterator[av.VideoFrame]:
    """The frames from the last keyframe before a time on; refuses those that cannot be decoded."""
    stream = container.streams.video[0]
    container.seek(int(max(time, 0.0) / stream.time_base), stream=stream)
    for packet in container.demux(stream):
        frames, complaint = decode(packet)
        if complaint and is_damaged(path, packet):
            ticks = packet.pts
            where = "its end" if ticks is None else f"{float(ticks * stream.time_base):.3f} s"
            raise ValueError(
                f"{path} cannot be decoded at {where}; it is truncated or damaged there "
                f"({complaint}). Copy it again."
            )
        yield from frames
