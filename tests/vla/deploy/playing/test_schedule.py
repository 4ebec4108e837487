"""Which frame of which chunk is due, in every mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rvq_action import WALL_26
from rvq_action.rotation import (
    axis_angle_to_matrix,
    geodesic_angle,
    matrix_to_rot6d,
    rot6d_to_matrix,
)
from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import HORIZON, RATE, FakePolicy, FakeRobot, drive
from vla.deploy.playing.chunking import Chunk, ensemble
from vla.deploy.playing.schedule import make_schedule
from vla.deploy.playing.schedule_settings import ScheduleSettings
from vla.deploy.settings import SafetySettings


def played(robot: FakeRobot) -> list[tuple[int, int]]:
    """(request, frame) of every command."""
    return [(round(r), round(f)) for r, f in robot.sent()[:, :2]]


def test_receding_horizon_executes_the_first_frames_of_what_was_seen_last():
    _, robot, policy = drive(mode="receding", execute_frames=3, periods=9)
    assert played(robot) == [(r, f) for r in range(3) for f in range(3)]
    assert robot.sent()[:, 2].tolist() == [0, 0, 0, 2, 2, 2, 2, 2, 2]
    assert policy.resets == 1


def test_receding_horizon_stands_still_while_it_plans():
    report, robot, _ = drive(mode="receding", execute_frames=3, latency=2 / RATE, periods=20)
    names = robot.names()[1:]
    assert names[:12] == ["hold", "hold", *["send"] * 3] * 2 + ["hold", "hold"]
    assert played(robot)[:6] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert report.delay_periods["median"] == pytest.approx(2)


def test_asynchronous_chunks_skip_what_has_passed_when_they_arrive():
    """Asked for at frame 5, there two periods later: frames 0 and 1 have passed."""
    report, robot, _ = drive(latency=2 / RATE, periods=18)
    expected = [(0, f) for f in range(7)] + [(1, f) for f in range(2, 7)] + [(2, 2), (2, 3)]
    assert played(robot)[:14] == expected
    assert "hold" not in robot.names()[3:-2] and report.held == {"waiting for the first chunk": 2}


def test_a_chunk_that_takes_too_long_ends_in_a_hold_and_then_goes_on_where_it_should_be():
    report, robot, _ = drive(latency=7 / RATE, periods=40)
    assert played(robot)[:12] == [(0, f) for f in range(10)] + [(1, 7), (1, 8)]
    assert report.held["no frame of any chunk is due"] >= 2


def test_a_chunk_all_of_whose_frames_have_passed_is_refused():
    patient = SafetySettings(start_timeout_s=2.0)
    report, robot, _ = drive(latency=12 / RATE, periods=60, execute_frames=1, safety=patient)
    assert (report.chunks, report.refused_chunks) == (2, 2)
    assert max(f for _, f in played(robot)) == 9


def test_real_time_chunks_are_told_what_they_meet():
    policy = FakePolicy(real_time=True)
    _, robot, _ = drive(None, policy, latency=2 / RATE, mode="real_time", periods=30)
    first, second, third = (request.committed for request in policy.requests[:3])
    assert first is None
    assert second.actions[:, 1].tolist() == [5, 6, 7, 8, 9] and (second.actions[:, 0] == 0).all()
    assert second.delay == 1 and third.delay == 2
    assert third.actions[:, 1].tolist() == [5, 6, 7, 8, 9] and (third.actions[:, 0] == 1).all()


def test_real_time_chunking_takes_a_policy_that_can():
    with pytest.raises(ValueError, match="Choose the mode `joined`"):
        make_schedule(FakePolicy().description, ScheduleSettings("real_time"))


def test_an_ensemble_is_the_mean_of_all_that_have_a_frame_for_now():
    report, robot, _ = drive(mode="ensemble", periods=12)
    ages = np.arange(HORIZON)
    weights = np.exp(-0.01 * ages)
    expected = (weights * (11 - ages)).sum() / weights.sum()
    np.testing.assert_allclose(robot.sent()[11, 0], expected)
    assert report.chunks == 12


def test_ensembles_weigh_by_age():
    frames = [np.zeros(4), np.ones(4)]
    new, old = (ensemble(frames, [3, 0], decay, ARM)[0] for decay in (1.0, -1.0))
    assert new == pytest.approx(1 / (1 + np.exp(-3))) and old == pytest.approx(1 - new)
    assert ensemble(frames, [900, 0], 1.0, ARM)[0] == 1.0


def test_a_faster_robot_gets_values_in_between_and_a_slower_one_leaves_out():
    fast = drive(None, FakePolicy(fps=RATE / 2), periods=6)[1]
    np.testing.assert_allclose(fast.sent()[:, 1], [0, 0.5, 1, 1.5, 2, 2.5])
    slow = drive(None, FakePolicy(fps=RATE * 2), periods=3, execute_frames=9)[1]
    assert slow.sent()[:, 1].tolist() == [0, 2, 4]


def test_low_speed_plays_slower():
    robot = drive(periods=8, speed=0.25)[1]
    np.testing.assert_allclose(robot.sent()[:, 1], np.arange(8) / 4)


def test_low_speed_shrinks_velocities_and_tells_the_policy_the_real_ones():
    base = WALL_26.index("base_vx")
    policy = FakePolicy(real_time=True).description
    policy = type(policy)("wall", WALL_26, RATE, HORIZON, real_time=True)
    schedule = make_schedule(policy, ScheduleSettings("real_time"), speed=0.5)
    chunk = np.ones((HORIZON, 26))
    schedule.add(chunk, 0, 0.0, 0.0)
    due, committed = schedule.due(0.0), schedule.committed(0.0)
    assert due.command[base] == 0.5 and due.command[WALL_26.index("lift")] == 1.0
    assert committed.actions[:, base].tolist() == [1.0] * HORIZON


def test_values_between_two_rotations_are_rotations():
    turns = axis_angle_to_matrix(torch.tensor([[0, 0, 0], [0, 0, 0.4]], dtype=torch.float64))
    block = WALL_26.rotation_of("right_arm")
    actions = np.zeros((2, 26))
    actions[:, block] = matrix_to_rot6d(turns).numpy()
    between = Chunk(actions, 0.0, RATE, 0, WALL_26).at(0.5)[block]
    found = rot6d_to_matrix(torch.from_numpy(between))
    np.testing.assert_allclose(matrix_to_rot6d(found).numpy(), between, atol=1e-12)
    for turn in turns:
        assert float(geodesic_angle(found, turn)) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "later"}, "mode is one of"),
        ({"execute_frames": 0}, "starts at 1"),
        ({"execute_frames": 11}, "chunks have 10 frames"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        make_schedule(FakePolicy().description, ScheduleSettings(**settings))
