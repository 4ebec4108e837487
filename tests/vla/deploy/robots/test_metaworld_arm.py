"""Meta-World behind the robot protocol, driven by a policy through the whole loop."""

from __future__ import annotations

import numpy as np
import pytest

from rvq_action.data.dataset import RobotDataset
from tests.vla.evaluation.closed_loop.conftest import DEMOS, SIZE, policy, recorded  # noqa: F401
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.playing.schedule_settings import ScheduleSettings
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.report import Ending
from vla.deploy.robots.metaworld import MetaWorldRobot
from vla.deploy.robots.metaworld_arm import MetaWorldArm
from vla.deploy.robots.protocol import RobotError
from vla.deploy.run import run
from vla.deploy.safety.limits import ChannelLimits, Limits, Workspace
from vla.deploy.settings import DeploymentSettings
from vla.evaluation.closed_loop.crew import Crew
from vla.evaluation.closed_loop.loop import Rules, play
from vla.evaluation.closed_loop.planners import PolicyPlanner
from vla.evaluation.closed_loop.starts import Start

TASK, SEED, FRAMES, STEPS = "reach-v3", 7, 4, 10
BOX = Workspace(("vx", "vy", "vz"), (-0.5, 0.3, 0.05), (0.5, 0.9, 0.24), lag=0.3)
"""The hand follows its commands like a spring, a fifth to a third of a second behind."""


@pytest.fixture
def steps(monkeypatch) -> list[np.ndarray]:
    """Every action that a simulated world is told."""
    told, step = [], MetaWorldRobot.step

    def note(robot, action):
        told.append(np.array(action))
        return step(robot, action)

    monkeypatch.setattr(MetaWorldRobot, "step", note)
    return told


def arm(policy, clock, limits=None, **more) -> MetaWorldArm:  # noqa: F811
    rows = policy.tokenizer.mapping("metaworld_sawyer")
    told = TASK, rows, DEMOS.fps, SIZE, ("corner3",), SEED, limits
    return MetaWorldArm(*told, now=clock.now, **more)


def drive(policy, robot, clock, mode="receding", periods=STEPS, latency=0.0, **settings):  # noqa: F811
    deployed = DeployedVLA(policy, seed=SEED, steps=2)
    told = DeploymentSettings(
        "reach it",
        seconds=periods / DEMOS.fps,
        schedule=ScheduleSettings(mode, FRAMES),
        keys=False,
        **settings,
    )
    inference = SimulatedInference(deployed, clock, latency)
    return run(robot, deployed, told, clock, inference, is_done=lambda: robot.is_solved)


def test_the_loop_sends_what_direct_evaluation_sends(policy, steps):  # noqa: F811
    planner = PolicyPlanner(policy, steps=2)
    crew = Crew(lambda task: MetaWorldRobot(task, SIZE, ("corner3",)), 1)
    rules = Rules(lambda task: "reach it", FRAMES, STEPS)
    list(play([Start(TASK, 0, SEED)], crew, planner, rules))
    crew.close()
    direct = np.array(steps)
    steps.clear()
    clock = SimulatedClock()
    report = drive(policy, arm(policy, clock), clock)
    assert report.sent == len(direct) == STEPS and report.chunks == 3
    np.testing.assert_allclose(np.array(steps[:STEPS]), direct, atol=1e-5)
    assert np.abs(direct).max() > 0.05


@pytest.mark.parametrize("mode", ["asynchronous", "real_time", "ensemble"])
def test_every_mode_moves_it_while_it_thinks(policy, steps, mode, tmp_path):  # noqa: F811
    clock = SimulatedClock()
    told = {"latency": 2 / DEMOS.fps, "record": tmp_path / "run"}
    report = drive(policy, arm(policy, clock), clock, mode, periods=14, **told)
    assert report.ending is Ending.TIME and report.sent == 12 and len(steps) == 15
    assert report.held == {"waiting for the first chunk": 2}
    moved = RobotDataset.open(report.dataset).episodes[0]
    assert (moved.embodiment, len(moved)) == ("metaworld_sawyer", 14)
    speed = np.abs(moved.actions[2:, :3] / (0.01 * DEMOS.fps)).clip(0, 1)
    np.testing.assert_allclose(speed, np.abs(np.array(steps)[2:14, :3]), atol=1e-5)


def test_a_workspace_keeps_the_hand_in_its_box(policy):  # noqa: F811
    """Even a policy that always wants up and out."""
    clock = SimulatedClock()
    limits = Limits({"hand/velocity": ChannelLimits(-0.2, 0.2, velocity=4.0)}, workspace=(BOX,))
    robot = arm(policy, clock, limits)
    deployed = DeployedVLA(policy)
    up = np.array([0.0, 0.0, 0.2, 0.5])
    deployed.act = lambda request: np.tile(up, (deployed.horizon, 1))
    settings = DeploymentSettings("rise", seconds=40 / DEMOS.fps, keys=False)
    heights, observe = [], robot.observe

    def look():
        seen = observe()
        heights.append(seen.proprio[2])
        return seen

    robot.observe = look
    report = run(robot, deployed, settings, clock, SimulatedInference(deployed, clock))
    start = heights[0]
    assert start < BOX.high[2] - 0.03 and report.clipped["vz"] > 10
    assert start + 0.03 < max(heights) <= BOX.high[2] + 0.003


def test_a_world_that_waits_takes_no_step_while_the_arm_is_held(policy, steps):  # noqa: F811
    clock = SimulatedClock()
    robot = arm(policy, clock, goes_on=False)
    report = drive(policy, robot, clock, periods=12, latency=2 / DEMOS.fps)
    assert len(steps) == report.sent < 12


def test_it_is_no_robot_before_it_is_connected(policy):  # noqa: F811
    with pytest.raises(RobotError, match="not connected"):
        arm(policy, SimulatedClock()).observe()


def test_the_first_pictures_are_drawn_while_it_connects(policy, monkeypatch):  # noqa: F811
    """They take longer than a control period has, and would make the run begin with a late one."""
    drawn, images = [], MetaWorldRobot.images
    monkeypatch.setattr(MetaWorldRobot, "images", lambda r: drawn.append(1) or images(r))
    robot = arm(policy, SimulatedClock())
    robot.connect()
    try:
        assert len(drawn) == 1
        robot.observe()
        assert len(drawn) == 2
    finally:
        robot.disconnect()
