"""LeRobot's robots in our control loop: one is driven, the packaged ones are accepted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lerobot.robots import RobotConfig

from vla.data.metaworld_rows import metaworld_rows
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.policies.policy import PolicyDescription, Request
from vla.deploy.report import Ending
from vla.deploy.robots.config import load_robot, read_robot
from vla.deploy.robots.kinds import LeRobotConfig
from vla.deploy.robots.lerobot import LeRobotArm, build
from vla.deploy.robots.protocol import RobotError
from vla.deploy.run import run
from vla.deploy.settings import DeploymentSettings

RATE, HORIZON, SIZE, UP = 20.0, 10, 56, 0.1
SAWYER = {"type": "rvq_simulated_sawyer", "image_size": SIZE, "camera_names": ["corner3"]}
ROWS = metaworld_rows(RATE)


class Lifting:
    """A policy that lifts the hand at `UP` [m/s] with the gripper open, and keeps what it saw."""

    description = PolicyDescription(
        "metaworld_sawyer", ROWS.mapping.layout, RATE, HORIZON, {"corner3": "corner3"}
    )

    def __init__(self) -> None:
        self.seen: list[Request] = []

    def reset(self) -> None:
        self.seen.clear()

    def act(self, request: Request) -> np.ndarray:
        self.seen.append(request)
        return np.tile([0.0, 0.0, UP, 1.0], (HORIZON, 1))


@pytest.fixture(autouse=True)
def calibrations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where LeRobot makes a folder for every robot that is built."""
    monkeypatch.setattr("lerobot.robots.robot.HF_LEROBOT_CALIBRATION", tmp_path)


def test_our_loop_drives_a_robot_of_lerobots():
    clock, policy = SimulatedClock(), Lifting()
    robot = build(SAWYER, ["lerobot_policy_rvq"])
    sent, really = [], robot.send_action
    robot.send_action = lambda action: sent.append(action) or really(action)
    arm = LeRobotArm(robot, ROWS, RATE, now=clock.now)
    settings = DeploymentSettings("lift the hand", seconds=1.0, keys=False)
    report = run(arm, policy, settings, clock, SimulatedInference(policy, clock, 0.0))
    assert report.ending is Ending.TIME and report.sent == RATE and not report.problems
    assert not robot.is_connected
    lifted = {"dx": 0.0, "dy": 0.0, "dz": pytest.approx(UP / 0.01 / RATE), "gripper": -1.0}
    assert sent[: report.sent] == [lifted] * report.sent
    first, last = (policy.seen[i].observation for i in (0, -1))
    assert first.images["corner3"].shape == (SIZE, SIZE, 3)
    assert last.proprio[2] - first.proprio[2] > 0.02, "the hand did not rise"
    assert not np.array_equal(first.images["corner3"], last.images["corner3"])


def test_its_names_may_say_what_lerobots_rollout_heeds():
    robot = build({**SAWYER, "kinds_in_names": True}, ["lerobot_policy_rvq"])
    seen = {name for name, kind in robot.observation_features.items() if kind is float}
    assert len(seen) == 4 and all(name.endswith(".pos") for name in seen)
    assert all(name.endswith(".vel") for name in robot.action_features)


def test_a_robot_that_refuses_its_configuration_is_not_built():
    with pytest.raises(ValueError, match="cannot build a robot.*speed"):
        build({**SAWYER, "speed": 3}, ["lerobot_policy_rvq"])
    arm = LeRobotArm(build({**SAWYER, "task": "fly-v3"}, ["lerobot_policy_rvq"]), ROWS, RATE)
    with pytest.raises(RobotError, match="cannot be reached.*fly-v3"):
        arm.connect()


@pytest.mark.parametrize("name", ["so101", "koch"])
def test_lerobot_accepts_what_the_packaged_robots_say(name, monkeypatch):
    """LeRobot's own configuration is what is read of it."""
    monkeypatch.setattr("lerobot.robots.make_robot_from_config", lambda config: config)
    told = read_robot(name)
    assert isinstance(told, LeRobotConfig)
    read = build(told.robot, told.modules)
    assert type(read) is RobotConfig.get_choice_class(told.robot["type"])
    assert told.cameras is not None and set(told.cameras.values()) == set(read.cameras)
    assert all(camera.fps >= told.rate for camera in read.cameras.values())
    with pytest.raises(ValueError, match="cannot build a robot.*torque"):
        build({**told.robot, "torque": 1}, told.modules)


@pytest.mark.parametrize(("name", "sdk"), [("so101", "scservo_sdk"), ("koch", "dynamixel_sdk")])
def test_the_packaged_robots_are_arms_of_lerobots(name, sdk):
    """Built, not connected: the mapping speaks of the motors and cameras that the arm has."""
    pytest.importorskip(sdk, reason=f"LeRobot builds no {name} without {sdk}")
    told, about = read_robot(name), load_robot(name).description
    assert isinstance(told, LeRobotConfig) and told.cameras is not None
    assert (about.embodiment, about.rate) == (name, told.rate)
    assert about.cameras == dict.fromkeys(told.cameras, (480, 640))
