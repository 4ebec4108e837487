"""A recording as a robot."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vla.deploy.conftest import FakePolicy, drive
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.robots.protocol import RobotError
from vla.deploy.robots.replay import ReplayRobot
from vla.deploy.run import run
from vla.deploy.settings import DeploymentSettings

LENGTH = 24


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A recorded run, as any other dataset."""
    folder = tmp_path_factory.mktemp("replay") / "run"
    return drive(periods=LENGTH, record=folder)[0].dataset


def replay(dataset, policy=None, **settings):
    clock, policy = SimulatedClock(), policy or FakePolicy()
    robot = ReplayRobot(dataset, now=clock.now)
    told = DeploymentSettings("wave", keys=False, **settings)
    inference = SimulatedInference(policy, clock)
    report = run(robot, policy, told, clock, inference, is_done=lambda: robot.is_over)
    return report, robot, policy


def test_it_shows_the_episode_frame_by_frame_and_notes_what_it_is_told(dataset):
    report, robot, policy = replay(dataset)
    assert (report.ending, report.sent) == ("done", LENGTH) and len(robot.told) == LENGTH
    shown = [r.observation for r in policy.requests]
    states = [s.proprio for s in shown]
    np.testing.assert_allclose(states[1:], robot.recorded[4::5][: len(states) - 1], atol=1e-6)
    levels = [s.images["front"].mean() for s in shown]
    np.testing.assert_allclose(levels, np.arange(1, LENGTH + 1, 5), atol=3)


def test_errors_are_what_was_sent_less_what_was_recorded(dataset):
    def spoil(number, chunk):
        return chunk + [0, 0.25, 0, 0]

    errors = replay(dataset, FakePolicy(spoil))[1].errors()
    np.testing.assert_allclose(errors[:, 1], 0.25, atol=1e-6)
    np.testing.assert_allclose(errors[:, 0], 0.0, atol=1e-6)


def test_periods_in_which_it_was_held_have_no_error(dataset):
    robot = ReplayRobot(dataset)
    robot.connect()
    robot.observe()
    robot.hold(None)
    robot.send(np.zeros(4))
    assert np.isnan(robot.errors()[0]).all() and np.isfinite(robot.errors()[1]).all()


def test_it_starts_again_when_it_is_connected_again(dataset):
    robot = ReplayRobot(dataset)
    with pytest.raises(RobotError, match="not connected"):
        robot.observe()
    first = []
    for _ in range(2):
        robot.connect()
        first.append(robot.observe().images["front"])
        robot.send(np.zeros(4))
        robot.observe()
        robot.disconnect()
    np.testing.assert_array_equal(*first)


def test_an_episode_or_a_camera_that_is_not_there_is_refused(dataset):
    with pytest.raises(IndexError, match=r"0\.\.0, not 3"):
        ReplayRobot(dataset, 3)
    with pytest.raises(ValueError, match=r"has no camera \['top'\]"):
        ReplayRobot(dataset, cameras=["top"])


def test_a_real_recording_can_be_replayed(shared_data):
    robot = ReplayRobot(shared_data / "so101_pick_tape", cameras=None)
    robot.connect()
    seen = robot.observe()
    about = robot.description
    assert about.embodiment == "so101" and seen.proprio.shape == (6,)
    assert {n: i.shape[:2] for n, i in seen.images.items()} == dict(about.cameras)
    robot.disconnect()
