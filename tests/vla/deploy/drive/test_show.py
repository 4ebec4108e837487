"""`rvq-vla show`: a recorded run in words, as an mp4, in Rerun."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.vla.deploy.conftest import RATE, FakePolicy, FakeRobot, drive
from vla.cli import main
from vla.deploy.drive.film import HEIGHT, MARGIN, ROW, draw_curves
from vla.deploy.drive.played import PlayedRun

PERIODS = 15


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Of a robot that is held in its first two periods."""
    folder = tmp_path_factory.mktemp("show") / "run"
    drive(FakeRobot(), FakePolicy(), 2 / RATE, PERIODS, record=folder)
    return folder


def test_it_says_what_happened(run, capsys):
    assert main(["show", str(run)]) == 0
    told = capsys.readouterr().out
    assert "told 'wave': 15 periods at 20 Hz (0.8 s), held in 2" in told
    assert "cameras: front 24 x 16" in told
    assert "0.00 s  held: waiting for the first chunk" in told and "0.10 s  moving" in told


def test_the_film_has_a_frame_for_every_period(run, tmp_path, capsys):
    out = tmp_path / "run.mp4"
    assert main(["show", str(run), "--mp4", str(out)]) == 0
    with av.open(str(out)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == RATE
    assert len(frames) == PERIODS and frames[0].shape == (HEIGHT + 4 * ROW, 640, 3)
    levels = [frame[:HEIGHT, :500].mean() for frame in frames]
    np.testing.assert_allclose(levels, np.arange(1, PERIODS + 1), atol=3)
    assert main(["show", str(run), "--mp4", str(out)]) == 1
    assert "exists. Give another name" in capsys.readouterr().err


def test_the_curves_rise_where_the_commands_do_and_are_red_where_it_was_held(run):
    played = PlayedRun.open(run)
    picture = np.asarray(draw_curves(played, 640)).astype(int)
    blue = (picture[:, :, 2] - picture[:, :, 0]) > 100
    rising = blue[ROW : 2 * ROW, MARGIN:]
    columns = np.flatnonzero(rising.any(0))
    heights = np.array([np.flatnonzero(rising[:, c]).mean() for c in columns])
    first = heights[columns < columns[0] + 150]
    assert np.polyfit(np.arange(len(first)), first, 1)[0] < 0
    red = (picture[:, :, 0] - picture[:, :, 2]) > 30
    held = np.flatnonzero(red[2, MARGIN:])
    share = (len(held) - 1) / (640 - MARGIN)
    assert held[0] < 3 and share == pytest.approx(2 / (PERIODS - 1), abs=0.02)


def test_rerun_shows_pictures_curves_and_events(run, tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    out = tmp_path / "run.rrd"
    assert main(["show", str(run), "--rerun", str(out)]) == 0
    content = out.read_bytes()
    channels = PlayedRun.open(run).layout.channels
    curves = [f"{kind}/{c.group}/{c.name}" for kind in ("state", "due", "sent") for c in channels]
    for name in ("camera/front", "events", *curves):
        assert name.encode() in content, name
    assert main(["show", str(run), "--rerun", str(out)]) == 1


def test_what_is_no_recording(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 1
    assert "is no recording of a run" in capsys.readouterr().err
