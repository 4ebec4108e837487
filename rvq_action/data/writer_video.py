"""H.264 video for datasets: one file per episode while recording, joined into shards unchanged.

Frames lie exactly at `frame / fps`: no B-frames, a keyframe every ten frames for quick seeking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

KEYFRAME_INTERVAL = 10


def frame_rate(fps: float) -> Fraction:
    """The rate as the fraction a container stores (29.97 becomes 30000/1001)."""
    nearest = Fraction(round(fps * 1001), 1001)
    exact = Fraction(fps).limit_denominator(1000)
    return exact if abs(exact - fps) <= abs(nearest - fps) else nearest


def checked(frames: Iterable[np.ndarray], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Pass on frames that are uint8 [H, W, 3].

    Raises:
        ValueError: Names the first frame that is not.
    """
    for index, frame in enumerate(frames):
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.shape != (*size, 3):
            raise ValueError(
                f"frame {index} is {frame.dtype} {frame.shape}, expected uint8 {(*size, 3)} "
                "(height, width, RGB). Resize it, or change the size given to the writer."
            )
        yield np.ascontiguousarray(frame)


def encode(
    frames: Iterable[np.ndarray], path: Path, fps: float, size: tuple[int, int], crf: int
) -> int:
    """Encode the frames of one episode.

    Args:
        frames: uint8 [H, W, 3] RGB, in order; consumed lazily.
        path: The mp4 to write.
        fps: Frames per second.
        size: (H, W), both even.
        crf: libx264's quality; smaller is better.

    Returns:
        The number of frames written.
    """
    count = 0
    with av.open(str(path), "w") as container:
        options = {"crf": str(crf), "preset": "veryfast", "bf": "0"}
        stream = container.add_stream("libx264", rate=frame_rate(fps), options=options)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = KEYFRAME_INTERVAL
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            count += 1
        container.mux(stream.encode(None))
    return count


def join(parts: Sequence[Path], counts: Sequence[int], path: Path, fps: float) -> None:
    """Join episode videos into one file without encoding them again.

    Args:
        parts: Videos written by `encode` with the same size, rate and quality.
        counts: Number of frames of each.
        path: The mp4 to write.
        fps: Frames per second.
    """
    tick = 1 / frame_rate(fps)
    with av.open(str(path), "w") as output:
        target, first = None, 0
        for part, count in zip(parts, counts, strict=True):
            with av.open(str(part)) as source:
                stream = source.streams.video[0]
                if target is None:
                    target = output.add_stream_from_template(stream)
                for packet in source.demux(stream):
                    if packet.pts is None or packet.time_base is None:
                        continue
                    frame = first + round(packet.time_base * packet.pts / tick)
                    packet.time_base = tick
                    packet.pts = packet.dts = frame
                    packet.duration = 1
                    packet.stream = target
                    output.mux(packet)
            first += count
