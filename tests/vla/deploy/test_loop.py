"""Faults in simulated time: the robot is held or stopped within two periods of each."""

from __future__ import annotations

import contextlib
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from rvq_action import WALL_26
from tests.vla.deploy.conftest import RATE, FakePolicy, FakeRobot, drive
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.policies.policy import PolicyDescription, check_match
from vla.deploy.report import Ending, Reason
from vla.deploy.robots.protocol import RobotError
from vla.deploy.run import run
from vla.deploy.safety.limits import ChannelLimits, Limits
from vla.deploy.settings import DeploymentSettings, SafetySettings


def names_after(robot: FakeRobot, period: int) -> list[str]:
    """Calls made from a period on."""
    return [name for looks, name, _ in robot.calls if looks > period]


def nan_from(number: int):
    """A policy whose chunks hold a NaN from a request on."""

    def spoil(request: int, chunk: np.ndarray) -> np.ndarray:
        if request >= number:
            chunk[7, 2] = np.nan
        return chunk

    return spoil


def test_a_run_goes_its_time_and_leaves_the_robot_held():
    report, robot, _ = drive(periods=12)
    assert (report.ending, report.sent, report.periods) == (Ending.TIME, 12, 12)
    assert robot.names() == ["connect", *["send"] * 12, "hold", "disconnect"]
    assert report.missed_deadlines == 0 and not report.held


def test_a_solved_task_ends_it():
    robot, policy, clock = FakeRobot(), FakePolicy(), SimulatedClock()
    robot.now = clock.now
    settings = DeploymentSettings("wave", keys=False)
    inference = SimulatedInference(policy, clock)
    report = run(robot, policy, settings, clock, inference, is_done=lambda: robot.looks == 5)
    assert (report.ending, report.sent) == (Ending.DONE, 5)
    assert robot.names()[-2:] == ["hold", "disconnect"]


def test_a_nan_from_the_model_holds_at_once_and_then_stops():
    report, robot, _ = drive(None, FakePolicy(nan_from(1)), periods=200)
    assert report.ending is Ending.HELD_TOO_LONG
    assert "gave nan for 'joint_2' at frame 7" in report.detail
    after = names_after(robot, 5)
    assert after[0] == "hold" and after[-2:] == ["stop", "disconnect"]
    assert "send" not in after and np.isfinite(robot.sent()).all()
    assert len(after) - 2 == pytest.approx(0.3 * RATE, abs=1)


def test_one_bad_chunk_is_got_over():
    spoil = nan_from(1)
    once = FakePolicy(lambda number, chunk: spoil(number, chunk) if number == 1 else chunk)
    report, robot, _ = drive(None, once, periods=20)
    assert (report.ending, report.refused_chunks) == (Ending.TIME, 1)
    assert report.held == {"unusable chunk": 1} and report.sent == 19


def test_reasons_that_take_turns_are_told_once_each(caplog):
    """A policy that fails time and again is late in between."""
    fails = FakePolicy(lambda number, chunk: chunk if number == 0 else 1 / 0)
    with caplog.at_level("INFO", logger="vla.deploy"):
        report, _, _ = drive(None, fails, periods=200, latency=0.06)
    assert report.refused_chunks == 3 and report.held[Reason.LATE] == 4
    told = [r.getMessage().split(":")[1] for r in caplog.records if r.getMessage()[:4] == "Held"]
    assert told == [f" {why}" for why in (Reason.STARTING, Reason.CHUNK, Reason.LATE)]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda n, c: c[:4], r"a chunk \[4, 4\] instead of \[10, 4\]"),
        (lambda n, c: np.full_like(c, np.inf), "gave inf"),
        (lambda n, c: c + 1e308, "gave 1e\\+308 for 'joint_0' at frame 0"),
        (lambda n, c: 1 / 0, "ZeroDivisionError"),
        (lambda n, c: exec("raise SystemExit(3)"), "SystemExit: 3"),
        (lambda n, c: exec("raise ConnectionError('the server is gone')"), "the server is gone"),
    ],
)
def test_whatever_is_no_chunk_moves_nothing(spoil, words):
    report, robot, _ = drive(None, FakePolicy(spoil), periods=200)
    assert report.ending is Ending.HELD_TOO_LONG and not report.sent
    assert re.search(words, report.detail)


def test_a_hung_inference_holds_when_the_last_frame_has_passed_and_stops_then():
    class Hangs(SimulatedInference):
        def ask(self, request, now):
            self.seconds = math.inf if request.number else 0.0
            super().ask(request, now)

    robot, policy, clock = FakeRobot(), FakePolicy(), SimulatedClock()
    robot.now = clock.now
    safety = SafetySettings(stop_after_s=0.3)
    settings = DeploymentSettings("wave", safety=safety, keys=False)
    report = run(robot, policy, settings, clock, Hangs(policy, clock))
    assert report.sent == 10 and report.ending is Ending.HELD_TOO_LONG
    assert names_after(robot, 10)[0] == "hold" and robot.names()[-2] == "stop"


def test_a_policy_that_never_answers_is_given_up():
    report, robot, _ = drive(latency=math.inf, periods=200)
    assert report.ending is Ending.HELD_TOO_LONG and "has not answered yet" in report.detail
    assert report.held == {"waiting for the first chunk": 11} and robot.names()[-2] == "stop"


def test_an_inference_process_that_is_killed_holds():
    """What it was asked last it never answers."""
    echo = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", echo], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def ask(number: int, chunk: np.ndarray) -> np.ndarray:
        if number == 2:
            process.kill()
            process.wait()
        process.stdin.write(b"%d\n" % number)
        process.stdin.flush()
        return chunk if process.stdout.readline() else 1 / 0

    report, robot, _ = drive(None, FakePolicy(ask), periods=200)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    assert report.ending is Ending.HELD_TOO_LONG and "BrokenPipeError" in report.detail
    assert report.sent == 10 and names_after(robot, 10)[0] == "hold"
    assert robot.names()[-2:] == ["stop", "disconnect"]


class Slow(FakeRobot):
    """Takes a time to look, which passes on the clock."""

    def __init__(self, clock: SimulatedClock, takes: dict[int, float]) -> None:
        super().__init__(now=clock.now)
        self.clock, self.takes = clock, takes

    def observe(self):
        self.clock.wait(self.clock.now() + self.takes.get(self.looks + 1, 0.0), None)
        return super().observe()


@pytest.mark.parametrize(
    ("takes", "missed", "sent"),
    [
        ({}, 0, 20),
        ({3: 0.9 / RATE}, 0, 20),
        ({3: 1.2 / RATE}, 1, 19),
        ({3: 3.5 / RATE}, 3, 16),
        (dict.fromkeys(range(1, 99), 1.5 / RATE), 10, 10),
    ],
)
def test_deadlines_that_are_missed_are_counted_and_made_up_for_by_none(takes, missed, sent):
    """What is late is not sent; frames stay in time."""
    clock, policy = SimulatedClock(), FakePolicy()
    robot = Slow(clock, takes)
    settings = DeploymentSettings("wave", seconds=20 / RATE, keys=False)
    report = run(robot, policy, settings, clock, SimulatedInference(policy, clock))
    assert (report.missed_deadlines, report.periods, report.sent) == (missed, 20, sent)
    assert report.missed_share == missed / 20
    if 3 in takes and sent == 19:
        assert robot.sent()[:4, 1].tolist() == [0, 1, 3, 4]


def test_a_frozen_camera_holds():
    robot = FakeRobot()
    robot.frozen_from = 5
    safety = SafetySettings(frozen_camera_s=0.25, stop_after_s=0.3)
    report, robot, _ = drive(robot, periods=200, safety=safety)
    frozen = 5 + math.ceil(0.25 * RATE)
    assert report.ending is Ending.HELD_TOO_LONG and "has not changed for 0.25 s" in report.detail
    assert names_after(robot, frozen - 1)[0] == "hold" and "stop" in robot.names()


def test_a_simulators_pictures_may_stand_still():
    robot = FakeRobot(live=False)
    robot.frozen_from = 1
    assert drive(robot, periods=60)[0].ending is Ending.TIME


def test_a_robot_that_loses_sight_of_a_joint_is_held():
    robot = FakeRobot()
    robot.blind_from = 6
    report, robot, _ = drive(robot, periods=200)
    assert "the state of ['joint_1'] is not a number" in report.detail
    assert names_after(robot, 6)[0] == "hold"


def test_an_old_observation_is_not_acted_on():
    robot = FakeRobot()
    fresh = robot.observe
    robot.observe = lambda: type(o := fresh())(o.time - (0.4 if robot.looks > 6 else 0), *rest(o))

    def rest(observation):
        return observation.proprio, observation.images

    report, robot, _ = drive(robot, periods=200)
    assert "the observation is 0.400 s old" in report.detail
    assert names_after(robot, 6)[0] == "hold"


def test_a_robot_that_does_not_answer_is_held_and_stopped():
    robot = FakeRobot()
    robot.lost_from = 4
    report, robot, _ = drive(robot, periods=200)
    assert report.ending is Ending.HELD_TOO_LONG and "the cable is out" in report.detail
    assert names_after(robot, 4)[0] == "hold" and robot.names()[-2] == "stop"


def test_a_stale_chunk_is_not_played():
    safety = SafetySettings(stale_chunk_s=0.1, start_timeout_s=0.5)
    report, robot, _ = drive(latency=0.15, periods=200, safety=safety)
    assert not report.sent and report.refused_chunks >= 2


class Unplugged(FakeRobot):
    """Hangs by a cable that comes out when time is up."""

    def hold(self, command):
        raise RobotError("the cable is out")

    def stop(self):
        raise RobotError("the cable is out")


def test_a_robot_that_is_lost_at_the_end_is_reported_like_any(tmp_path):
    report, _, _ = drive(Unplugged(), record=tmp_path / "run")
    assert report.ending is Ending.ROBOT_LOST and "cannot be stopped" in report.detail
    assert report.dataset is not None and (tmp_path / "run" / "report.json").exists()


def test_a_robot_that_cannot_be_held_at_the_end_is_stopped():
    robot = FakeRobot()
    robot.hold = Unplugged.hold.__get__(robot)
    report, _, _ = drive(robot)
    assert report.ending is Ending.ROBOT_LOST and "cannot be held" in report.detail
    assert robot.names()[-2:] == ["stop", "disconnect"]


def test_a_loop_that_fails_beside_a_lost_robot_is_reported_too():
    robot = FakeRobot()
    robot.stop = Unplugged.stop.__get__(robot)
    clock, policy = SimulatedClock(), FakePolicy()
    robot.now = clock.now
    settings, inference = DeploymentSettings("wave", keys=False), SimulatedInference(policy, clock)
    report = run(robot, policy, settings, clock, inference, is_done=lambda: 1 / 0)
    assert report.ending is Ending.ROBOT_LOST and "ZeroDivisionError" in report.detail


def test_a_robot_that_cannot_be_let_go_of_is_a_problem_of_the_report(tmp_path):
    robot = FakeRobot()
    robot.disconnect = Unplugged.stop.__get__(robot)
    report, _, _ = drive(robot, record=tmp_path / "run")
    assert report.ending is Ending.TIME and report.dataset is not None
    assert report.problems == ("The robot could not be let go of: the cable is out.",)


def test_holding_keeps_the_last_command():
    _, robot, _ = drive(None, FakePolicy(nan_from(1)), periods=200)
    held = [value for _, name, value in robot.calls if name == "hold"]
    for value in held:
        np.testing.assert_array_equal(value, robot.sent()[-1])


def test_limits_clip_and_are_counted():
    limits = Limits({"joint_1": ChannelLimits(-1, 3.0)})
    report, robot, _ = drive(FakeRobot(limits), periods=20)
    assert robot.sent()[:, 1].max() == 3.0
    assert report.clipped == {"joint_1": 4}


def test_limits_stop():
    limits = Limits({"joint_1": ChannelLimits(-1, 3.0)}, on_violation="stop")
    report, robot, _ = drive(FakeRobot(limits), periods=20)
    assert report.ending is Ending.OUT_OF_LIMITS and "joint_1 4" in report.detail
    assert robot.sent()[:, 1].max() == 3.0 and robot.names()[-2:] == ["stop", "disconnect"]


def test_a_robot_that_starts_outside_its_limits_is_not_moved():
    robot = FakeRobot(Limits({"joint_1": ChannelLimits(0.5, 3.0, velocity=1.0)}))
    report, robot, _ = drive(robot, periods=20)
    assert report.ending is Ending.OUT_OF_LIMITS and not report.sent
    assert "stands outside" in report.detail


def test_a_policy_for_other_channels_or_cameras_is_refused_before_anything_moves():
    robot = FakeRobot().description
    hand = PolicyDescription("arm", WALL_26, RATE, 10)
    with pytest.raises(ValueError, match="takes inverse kinematics from the robot's URDF"):
        check_match(hand, robot)
    joints = FakePolicy().description
    with pytest.raises(ValueError, match="tells none of its joints"):
        check_match(joints, type(robot)("arm", WALL_26, RATE, {"front": (2, 2)}))
    blind = PolicyDescription("arm", robot.layout, RATE, 10, {"top": "overhead"})
    with pytest.raises(ValueError, match=r"looks through {'top': 'overhead'}.*\['front'\]"):
        check_match(blind, robot)
    other = PolicyDescription("koch", robot.layout, RATE, 10)
    with pytest.raises(ValueError, match="normalisation of that robot"):
        check_match(other, robot)
