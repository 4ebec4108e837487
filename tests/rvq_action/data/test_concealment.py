"""Frames that FFmpeg patches up without a word are refused; clean ones never are."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import av
import av.logging
import numpy as np
import pytest

from rvq_action.data.concealment import decode
from rvq_action.data.video import read_frames, stream_frames
from tests.synthetic import FPS, damage

LENGTH, SIZE = 40, (96, 128)
TIMES = np.arange(LENGTH) / FPS
CODECS = {
    "h264": ("libx264", {}),
    "slices decoded by threads": ("libx264", {"slices": "4"}),
    "mpeg4": ("mpeg4", {}),
    "av1": ("libsvtav1", {"preset": "8"}),
}


def noisy_video(file: Path, codec: str = "libx264", **options: str) -> Path:
    """Waves under noise, so that frames have a payload; a keyframe every ten frames."""
    rng, (height, width) = np.random.default_rng(0), SIZE
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.gop_size = 10
        for i in range(LENGTH):
            wave = 127 + 90 * np.sin(np.arange(width) / 9 + i / 5)
            image = wave[None, :, None] + rng.normal(0, 8, (height, width, 3))
            image = image.clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return file


@pytest.fixture
def clean(tmp_path) -> Path:
    return noisy_video(tmp_path / "clean.mp4")


@pytest.fixture
def damaged(tmp_path) -> Path:
    return damage(noisy_video(tmp_path / "damaged.mp4"))


@pytest.mark.parametrize("name", CODECS)
def test_a_damaged_frame_is_named_by_file_and_time(tmp_path, name):
    codec, options = CODECS[name]
    file = noisy_video(tmp_path / "wrist.mp4", codec, **options)
    assert len(read_frames(file, TIMES, 0.01)) == LENGTH
    damage(file)
    match = r"wrist\.mp4 cannot be decoded at [0-2]\.\d00 s; it is truncated or damaged.*Copy it"
    with pytest.raises(ValueError, match=match):
        read_frames(file, TIMES, 0.01)


def test_frames_before_the_damage_are_read(damaged, clean):
    before = read_frames(damaged, TIMES[:10], 0.01)
    assert np.array_equal(before, read_frames(clean, TIMES[:10], 0.01))


def test_a_damaged_video_is_refused_every_time(damaged):
    for _ in range(3):
        with pytest.raises(ValueError, match="cannot be decoded at"):
            read_frames(damaged, TIMES, 0.01)


def test_a_decoder_that_lacks_earlier_frames_is_not_believed(tmp_path):
    options = {"x264-params": "open-gop=1:bframes=3:keyint=10:scenecut=0"}
    file = noisy_video(tmp_path / "clean.mp4", **options)
    whole = read_frames(file, TIMES, 0.01)
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        container.seek(round(2.6 / stream.time_base), stream=stream)
        assert any(decode(packet)[1] for packet in container.demux(stream))
    assert np.array_equal(read_frames(file, TIMES[26:27], 0.01)[0], whole[26])
    damage(file)
    with pytest.raises(ValueError, match="cannot be decoded at"):
        read_frames(file, TIMES, 0.01)


@pytest.mark.parametrize("level", [None, av.logging.ERROR, av.logging.VERBOSE])
def test_the_log_settings_stay_as_the_user_left_them(clean, damaged, level, caplog):
    av.logging.set_level(level)
    try:
        with pytest.raises(ValueError, match="cannot be decoded at"):
            read_frames(damaged, TIMES, 0.01)
        frames = stream_frames(clean, TIMES, 0.01)
        next(frames)
        assert av.logging.get_level() == level
        assert av.logging.get_skip_repeated()
    finally:
        av.logging.set_level(None)
    heard = [r for r in caplog.records if r.name.startswith("libav") and r.levelno >= logging.ERROR]
    assert bool(heard) == (level is not None)


class Packet:
    """One whose decoding does what it is told."""

    def __init__(self, work: Callable[[], object]):
        self.work = work

    def decode(self) -> list[av.VideoFrame]:
        self.work()
        return []


def test_an_error_in_another_thread_is_not_taken_for_ones_own():
    complaints = []
    failing = Packet(lambda: av.logging.log(av.logging.ERROR, "h264", "no picture"))
    other = threading.Thread(target=lambda: complaints.append(decode(failing)[1]))

    def work() -> None:
        other.start()
        other.join(timeout=0.2)

    assert decode(Packet(work)) == ([], None)
    other.join()
    assert complaints == ["no picture"]
    assert av.logging.get_level() is None
