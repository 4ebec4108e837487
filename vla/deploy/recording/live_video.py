"""LiveVideo: an mp4 that can be looked at while it grows, and after its process was killed.

It is fragmented: every half second goes to the file as a piece that is complete in itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from rvq_action.data.writer_video import frame_rate

FRAGMENT_S = 0.5
CRF = 18


class LiveVideo:
    """A camera's pictures, one for every frame.

    Args:
        path: The mp4.
        size: (H, W) of the pictures; an odd last row or column is left out, which H.264 has no
            room for.
        rate: Pictures per second.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        self._container = av.open(str(path), "w", format="mp4", options=flags)
        options = {"crf": str(CRF), "preset": "veryfast", "tune": "zerolatency", "bf": "0"}
        stream = self._container.add_stream("libx264", rate=frame_rate(rate), options=options)
        stream.height, stream.width = even(size)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = max(1, round(rate * FRAGMENT_S))
        self._stream = stream

    def add(self, image: np.ndarray) -> None:
        """Append a picture, uint8 [H, W, 3]."""
        inside = np.ascontiguousarray(image[: self._stream.height, : self._stream.width])
        frame = av.VideoFrame.from_ndarray(inside, format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left."""
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


def even(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) without an odd last row or column."""
    return size[0] // 2 * 2, size[1] // 2 * 2


def read_live_video(path: Path) -> Iterator[np.ndarray]:
    """The pictures of a video, uint8 [H, W, 3], as far as they are whole."""
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except av.FFmpegError:
        return
