"""What is measured of what a robot was told."""

from __future__ import annotations

import numpy as np

from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import RATE, FakePolicy, drive
from vla.deploy.playing.schedule import Due
from vla.deploy.report import Reason
from vla.deploy.safety.hold import Problem
from vla.deploy.witness import Step
from vla.evaluation.schedules.trace import Trace


def told(trace: Trace, values: list[float], chunks: list[int | None]) -> None:
    """Joint 0 is told values; None: held."""
    for number, (value, chunk) in enumerate(zip(values, chunks, strict=True)):
        command = np.array([value, 0.0, 0.0, 0.0])
        held = Problem(Reason.LATE, "") if chunk is None else None
        due = None if chunk is None else Due(command, chunk, 0.0)
        sent = None if chunk is None else command
        trace.step(Step(number / RATE, None, due, sent, (), held))


def test_seams_are_where_a_new_chunk_begins():
    trace = Trace(ARM)
    chunks = [None, None, 0, 0, 0, 1, 1, 1, None, 2, 2]
    told(trace, [9, 9, 0, 1, 2, 5, 6, 7, 9, 8, 9], chunks)
    assert trace.chunks == [0, 0, 0, 1, 1, 1, None, 2, 2] and trace.held == 1
    assert trace.seams().tolist() == [3, 7]
    bends = trace.bends()[:, 0]
    assert bends[3 - 2] == abs(5 - 2 * 2 + 1) and bends[7 - 2] == abs(8 - 2 * 7 + 7)
    assert trace.inside().tolist() == [2, 5] and bends[0] == bends[3] == 0


def test_one_chunk_has_no_seam_and_none_has_nothing():
    trace = Trace(ARM)
    assert trace.seams().tolist() == [] and trace.bends().shape == (0, 4)
    told(trace, [0, 1, 2, 3], [0, 0, 0, 0])
    assert trace.seams().tolist() == [] and trace.inside().tolist() == [2, 3]


def test_it_looks_on_at_a_run(monkeypatch):
    """Naive synchronous inference stands still for three of every eight periods."""
    from vla.deploy import run as module

    trace = Trace(ARM)
    whole = module.run
    monkeypatch.setattr(
        "tests.vla.deploy.conftest.run", lambda *parts: whole(*parts, witness=trace)
    )
    report = drive(None, FakePolicy(), mode="receding", execute_frames=5, latency=3 / RATE)[0]
    assert len(trace.commands) == report.periods - report.held["waiting for the first chunk"]
    assert trace.held == report.held["no frame of any chunk is due"]
    assert (trace.held, len(trace.chunks)) == (4 * 3, 5 * 5 + 4 * 3)
