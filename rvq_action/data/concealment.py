"""Damage that FFmpeg conceals: it logs an error, fills the gap from its neighbours and goes on.

Such frames bear no mark (`is_corrupt` is false) and no option of the decoders (`err_detect`)
refuses them, so logged errors are the only sign. They are counted, not captured: decoders log from
threads of their own, which a local `av.logging.Capture` does not hear; a global one takes messages
from whoever else decodes; and both lose a message that repeats the one before.

What a decoder takes for a valid picture cannot be seen: a part of damaged H.264, most of damaged
HEVC. Only checksums of the files would tell.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.logging

_LISTENING = threading.Lock()
"""The count is of the whole process, so packets of several threads are decoded in turn."""


def decode(packet: av.Packet) -> tuple[list[av.VideoFrame], str | None]:
    """Decode a packet of a video stream and hear what the decoder complains of.

    Returns:
        The frames that are ready, and the last error that was raised or logged, None without one.
    """
    with _counted_errors():
        before, _ = av.logging.get_last_error()
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            return [], str(error)
        count, last = av.logging.get_last_error()
    return frames, last[2].strip() if last and count > before else None


def is_damaged(path: Path, packet: av.Packet) -> bool:
    """Whether the decoder complains of a packet also after a run-up.

    A decoder that sets out in the middle of a video lacks frames that the first ones may refer to
    (open groups of pictures, intra refresh) and complains, although what it gives out is right. A
    group of pictures earlier it has what it needs, and only damage is left to complain of.

    Args:
        path: The video.
        packet: One that was complained of.
    """
    if packet.dts is None:
        return True
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        container.seek(packet.dts, stream=stream)
        keyframe = next(container.demux(stream))
        container.seek((keyframe.dts or 0) - 1, stream=stream)
        for again in container.demux(stream):
            _, complaint = decode(again)
            if again.dts is None or again.dts >= packet.dts:
                return complaint is not None
    return True


@contextmanager
def _counted_errors() -> Iterator[None]:
    """Let PyAV count errors. By default it hears none; below ERROR it counts them and says nothing.

    A level that the user set is left alone: errors are counted at every level. What cannot be seen
    or put back is `av.logging.restore_default_callback`: afterwards FFmpeg is silent again.
    """
    with _LISTENING:
        silent = av.logging.get_level() is None
        if silent:
            av.logging.set_level(av.logging.PANIC)
        try:
            yield
        finally:
            if silent:
                av.logging.set_level(None)
