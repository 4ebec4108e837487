"""`rvq-vla show`: a recorded run in words, as an mp4, in Rerun."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import ImageColor

from tests.vla.deploy.conftest import RATE, FakePolicy, FakeRobot, drive
from tests.vla.deploy.drive.test_preflight import HAND
from vla.cli import main
from vla.deploy.drive import legend
from vla.deploy.drive.film import HEIGHT, MARGIN, ROW, draw_curves
from vla.deploy.drive.legend import draw_legend
from vla.deploy.drive.outcome import lines
from vla.deploy.drive.played import PlayedRun

PERIODS, WIDTH = 15, 720


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
    assert "speed: full speed" in told and "cameras: front 24 x 16" in told
    assert "0.00 s  held: waiting for the first chunk" in told and "0.10 s  moving" in told


def test_the_film_has_a_frame_for_every_period(run, tmp_path, capsys):
    out = tmp_path / "run.mp4"
    assert main(["show", str(run), "--mp4", str(out)]) == 0
    with av.open(str(out)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == RATE
    height = HEIGHT + legend.HEIGHT + 4 * ROW
    assert len(frames) == PERIODS and frames[0].shape == (height, 720, 3)
    told = capsys.readouterr().out
    assert "grey: where it was, blue: what it was told" in told and "  full speed; 0.7 s" in told
    levels = [frame[:HEIGHT, :500].mean() for frame in frames]
    np.testing.assert_allclose(levels, np.arange(1, PERIODS + 1), atol=3)
    assert main(["show", str(run), "--mp4", str(out)]) == 1
    assert "exists. Give another name" in capsys.readouterr().err


def test_the_legend_has_every_colour_and_says_how_fast(run):
    played = PlayedRun.open(run)
    drawn = np.asarray(draw_legend(played, WIDTH))
    for meaning in legend.MEANINGS:
        assert (drawn == ImageColor.getrgb(meaning.colour)).all(2).any(), meaning.name
    assert legend.facts(played) == "full speed; 0.7 s from left to right"
    slow = replace(played, speed=0.2, layout=HAND)
    assert legend.facts(slow).startswith("low speed, 0.2 of full; 0.7 s")
    drawn = np.asarray(draw_legend(slow, WIDTH))
    assert (drawn[:, -20:] == 255).all(), "the words do not fit"
    assert "beside a velocity grey is the state, in its own unit" in legend.facts(slow)
    assert replace(played, speed=None).speed_in_words == "speed not known"


def test_a_slow_run_says_so(tmp_path):
    report, _, _ = drive(periods=4, speed=0.25, record=tmp_path / "slow")
    assert PlayedRun.open(tmp_path / "slow").speed == report.speed == 0.25
    assert "speed          low speed, 0.25 of full" in list(lines(report))


def test_the_curves_rise_where_the_commands_do_and_are_red_where_it_was_held(run):
    played = PlayedRun.open(run)
    picture = np.asarray(draw_curves(played, WIDTH)).astype(int)
    blue = (picture[:, :, 2] - picture[:, :, 0]) > 100
    rising = blue[ROW : 2 * ROW, MARGIN:]
    columns = np.flatnonzero(rising.any(0))
    heights = np.array([np.flatnonzero(rising[:, c]).mean() for c in columns])
    first = heights[columns < columns[0] + 150]
    assert np.polyfit(np.arange(len(first)), first, 1)[0] < 0
    red = (picture[:, :, 0] - picture[:, :, 2]) > 30
    held = np.flatnonzero(red[2, MARGIN:])
    share = (len(held) - 1) / (WIDTH - MARGIN)
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
