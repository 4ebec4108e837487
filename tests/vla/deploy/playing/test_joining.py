"""Where a new chunk takes over."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import HORIZON, RATE, FakePolicy
from vla.deploy.playing.chunking import Chunk
from vla.deploy.playing.joining import smoothest_seam
from vla.deploy.playing.schedule import make_schedule
from vla.deploy.playing.schedule_settings import ScheduleSettings


def chunk(values, start: float = 0.0, number: int = 0, gripper=None) -> Chunk:
    """Joint 0 and the gripper have values, frame by frame."""
    actions = np.zeros((len(values), 4))
    actions[:, 0] = values
    if gripper is not None:
        actions[:, 3] = gripper
    return Chunk(actions, start, RATE, number, ARM)


def seam(old: Chunk, new: Chunk, now: int, until: int = 99) -> int:
    """The period of the seam."""
    return round(smoothest_seam(old, new, now / RATE, until / RATE) * RATE)


def test_plans_that_agree_change_at_once():
    ramp = np.linspace(0, 1, 12)
    assert seam(chunk(ramp[:10]), chunk(ramp[2:], 2 / RATE), now=4) == 4


def test_a_new_plan_takes_over_where_both_meet():
    """Both are straight, the old one slower; they cross in period 5."""
    old, new = 2.5 + 0.5 * np.arange(10), np.arange(2.0, 12.0)
    assert seam(chunk(old), chunk(new, 2 / RATE), now=3) == 5


def test_a_plan_that_turns_is_not_left_in_its_turn():
    """The old one makes up for a step in period 7, and both are the same from then on."""
    old = np.concatenate([np.arange(-1.0, 6.0), [7.0, 8.0, 9.0]])
    assert seam(chunk(old), chunk(np.arange(2.0, 12.0), 2 / RATE), now=3) == 9


def test_it_does_not_wait_for_the_next_chunk_nor_for_frames_that_are_not_there():
    new, old = np.arange(2.0, 12.0), np.arange(-1.0, 9.0)
    for until, latest in ((5, 4), (99, 9)):
        assert 3 <= seam(chunk(old), chunk(new, 2 / RATE), now=3, until=until) <= latest
    assert seam(chunk(old), chunk(new, 2 / RATE), now=3, until=2) == 3


@pytest.mark.parametrize(("then", "expected"), [([8, 8, 8, 8, 9, 10, 11], 8), (range(8, 15), 5)])
def test_what_was_given_is_no_place_to_hide_a_seam(then, expected):
    """Three frames repeat the old plan, then the new one jumps away, and comes back or not."""
    old, new = np.arange(10.0), np.array([2, 3, 4, *then], dtype=float)
    assert seam(chunk(old), chunk(new, 2 / RATE), now=3) == expected


def test_a_gripper_does_not_close_twice():
    """The old plan has closed it in frame 5, the new one will in frame 6: from then on."""
    still = np.zeros(10)
    old = chunk(still, gripper=[0] * 5 + [1] * 5)
    new = chunk(still, 2 / RATE, gripper=[0] * 4 + [1] * 6)
    assert seam(old, new, now=3) in (3, 4, 6, 7, 8, 9)
    path = [(old, new)[k >= seam(old, new, now=5)] for k in range(5, 10)]
    told = [c.at(c.position(k / RATE))[3] for k, c in zip(range(5, 10), path, strict=True)]
    assert told == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(("mode", "expected"), [("asynchronous", 6), ("joined", 8)])
def test_a_schedule_plays_the_old_chunk_until_then(mode, expected):
    schedule = make_schedule(FakePolicy().description, ScheduleSettings(mode))
    old, new = np.zeros((2, HORIZON, 4))
    old[:, 0], new[:, 0] = 4 + 0.5 * np.arange(10), np.arange(5.0, 15.0)
    schedule.add(old, 0, 0.0, 0.0)
    assert schedule.wants(5 / RATE)
    schedule.add(new, 1, 5 / RATE, 6 / RATE)
    played = [schedule.due(k / RATE) for k in range(6, 12)]
    assert [due.chunk for due in played] == [int(k >= expected) for k in range(6, 12)]
    assert [due.frame for due in played if due.chunk] == list(range(expected - 5, 7))
    assert not schedule.wants(9 / RATE) and schedule.wants(10 / RATE)
