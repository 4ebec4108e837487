"""What is measured of what a robot was told."""

from __future__ import annotations

import numpy as np

from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import HORIZON, RATE, FakePolicy, drive
from vla.deploy.hold import Problem
from vla.deploy.report import Reason
from vla.deploy.schedule import Due
from vla.deploy.witness import Step
from vla.evaluation.schedules.trace import Trace


def told(
    trace: Trace, values: list[float], chunks: list[int | None], frames: list[int] | None = None
) -> None:
    """Joint 0 is told values, of chunks at frames; None: held."""
    at = [0] * len(values) if frames is None else frames
    for number, (value, chunk) in enumerate(zip(values, chunks, strict=True)):
        command = np.array([value, 0.0, 0.0, 0.0])
        held = Problem(Reason.LATE, "") if chunk is None else None
        due = None if chunk is None else Due(command, chunk, float(at[number]))
        sent = None if chunk is None else command
        trace.step(Step(number / RATE, None, due, sent, (), held))


def test_seams_are_where_a_new_chunk_begins():
    trace = Trace(ARM, HORIZON)
    chunks = [None, None, 0, 0, 0, 1, 1, 1, None, 2, 2]
    told(trace, [9, 9, 0, 1, 2, 5, 6, 7, 9, 8, 9], chunks)
    assert trace.chunks == [0, 0, 0, 1, 1, 1, None, 2, 2] and trace.held == 1
    assert trace.seams().tolist() == [3, 7]
    bends = trace.bends()[:, 0]
    assert bends[3 - 2] == abs(5 - 2 * 2 + 1) and bends[7 - 2] == abs(8 - 2 * 7 + 7)
    assert trace.inside().tolist() == [2, 5] and bends[0] == bends[3] == 0


def test_the_seam_of_a_chunk_that_goes_on_lies_behind_what_it_was_given():
    """Chunks of ten frames; each was asked for at frame 5 and arrived one period later."""
    chunks: list[int | None] = [0, 0, 1, 1, 1, 1, 1, 2, 2, 2]
    frames = [4, 5, 1, 2, 3, 4, 5, 1, 2, 3]
    for given, seams in ((0, [2, 7]), (3, [4, 9]), (9, [6])):
        trace = Trace(ARM, HORIZON, given)
        told(trace, list(range(10)), chunks, frames)
        assert trace.seams().tolist() == seams
        expected = [k for k in range(2, 10) if k not in seams and k - 1 not in seams]
        assert trace.inside().tolist() == expected


def test_a_chunk_that_follows_a_hold_repeats_nothing():
    trace = Trace(ARM, HORIZON, 3)
    told(trace, list(range(5)), [0, 0, None, 1, 1], [8, 9, 0, 0, 1])
    assert trace.seams().tolist() == [3] and trace.inside().tolist() == []


def test_one_chunk_has_no_seam_and_none_has_nothing():
    trace = Trace(ARM, HORIZON)
    assert trace.seams().tolist() == [] and trace.bends().shape == (0, 4)
    told(trace, [0, 1, 2, 3], [0, 0, 0, 0])
    assert trace.seams().tolist() == [] and trace.inside().tolist() == [2, 3]


def test_it_looks_on_at_a_run(monkeypatch):
    """Naive synchronous inference stands still for three of every eight periods."""
    from vla.deploy import run as module

    trace = Trace(ARM, HORIZON)
    whole = module.run
    monkeypatch.setattr(
        "tests.vla.deploy.conftest.run", lambda *parts: whole(*parts, witness=trace)
    )
    report = drive(None, FakePolicy(), mode="receding", execute_frames=5, latency=3 / RATE)[0]
    assert len(trace.commands) == report.periods - report.held["waiting for the first chunk"]
    assert trace.held == report.held["no frame of any chunk is due"]
    assert (trace.held, len(trace.chunks)) == (4 * 3, 5 * 5 + 4 * 3)
