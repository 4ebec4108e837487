"""What is looked at before a robot moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rvq_action import WALL_26
from rvq_action.layout import ActionLayout, Channel, DeltaRule
from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import FakePolicy, FakeRobot
from vla.deploy.drive.preflight import Preflight
from vla.deploy.safety.limits import ChannelLimits, Limits, RotationLimits, Workspace
from vla.deploy.settings import DeploymentSettings

SETTINGS = DeploymentSettings("wave", keys=False)
SEEN = np.array([[-0.5, -0.5, -0.5, 0.0], [0.5, 0.5, 0.5, 1.0]])


def looked(robot: FakeRobot, speed=0.5, seen=SEEN, is_real=True):
    settings = DeploymentSettings("wave", seconds=10, speed=speed, keys=False)
    preflight = Preflight(robot.description, FakePolicy().description, settings, is_real, seen)
    return preflight, robot.observe()


@pytest.fixture
def tight(arm) -> FakeRobot:
    names = arm.description.layout.names
    limits = Limits({name: ChannelLimits(-1, 1, 2.0, 8.0) for name in names})
    return FakeRobot(limits)


def test_the_table_says_what_the_robot_will_be_told(tight):
    preflight, now = looked(tight)
    told = "\n".join(preflight.lines(now))
    for line in (
        "robot          arm, real, commanded at 20 Hz",
        "policy         10 frames at 20 Hz (0.5 s)",
        "normalisation  key 'arm'",
        "speed          0.5 of full speed",
        "camera         front: 24 x 16, brightness 1 of 255, the policy's 'front'",
        "Ctrl-C; SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGQUIT, SIGTSTP to process",
    ):
        assert line in told
    row = next(line for line in told.splitlines() if line.startswith("joint_1"))
    assert row.split()[2:] == ["0", "-0.5", "..", "0.5", "-1", "..", "1", "1", "2"]
    assert not preflight.problems(now)


def test_what_nobody_knows_of_training_is_said(tight):
    """As of a policy behind a server."""
    preflight, now = looked(tight, seen=None)
    told = list(preflight.lines(now))
    assert sum("not known" in line for line in told) == 1 + len(tight.state)
    assert "hold `now` against recordings" in "\n".join(told)
    assert "not known" not in "\n".join(looked(tight)[0].lines(now))


def test_full_speed_is_said_aloud(tight):
    preflight, now = looked(tight, speed=1.0)
    assert "FULL SPEED" in "\n".join(preflight.lines(now))


def test_a_robot_outside_its_limits_must_not_move(tight):
    tight.state[2] = 3.0
    preflight, now = looked(tight)
    assert "stands outside its limits: joint_2 3" in preflight.problems(now)[0]


def test_a_state_that_is_no_number_must_not_move(tight):
    preflight, now = looked(tight)
    broken = type(now)(now.time, now.proprio[:3], now.images)
    assert "has the shape (3,)" in preflight.problems(broken)[0]


def test_a_real_robot_that_does_not_know_where_it_is_must_not_move():
    robot = FakeRobot()
    robot.state[1] = np.nan
    preflight, now = looked(robot)
    assert "does not say where ['joint_1'] are" in preflight.problems(now)[0]
    simulated, now = looked(robot, is_real=False)
    assert not simulated.problems(now)


def test_a_velocity_need_not_be_known(arm):
    layout = ActionLayout("cart", (Channel("vx", "m/s", "cart/velocity", DeltaRule.RAW),))
    arm.description = replace(arm.description, layout=layout)
    arm.state = np.array([np.nan])
    preflight, now = looked(arm, seen=None)
    assert not preflight.problems(now)


def test_the_state_beside_a_velocity_is_marked_as_being_in_another_unit(arm, tight):
    cart = Channel("vx", "m/s", "cart/velocity", DeltaRule.RAW), Channel("x", "m", "x", "subtract")
    arm.description = replace(arm.description, layout=ActionLayout("cart", cart))
    arm.state = np.array([0.25, 0.5])
    preflight, now = looked(arm, seen=np.array([[0.1, 0.2], [0.3, 0.7]]))
    *_, velocity, place, note = preflight.lines(now)
    assert velocity.split()[:6] == ["vx", "m/s", "0.25*", "0.1", "..", "0.3*"]
    assert place.split()[:6] == ["x", "m", "0.5", "0.2", "..", "0.7"]
    assert note.startswith("* beside a velocity: the state, in its own unit")
    preflight, now = looked(tight)
    assert "*" not in "\n".join(preflight.lines(now))


def test_where_a_joint_is_that_is_told_its_speed_is_said(arm):
    channel = Channel("joint_0", "rad/s", "arm/velocity", DeltaRule.RAW)
    limits = Limits({"joint_0": ChannelLimits(-1, 1, 4.0, position=(-2.0, 2.0))})
    layout = ActionLayout("turned", (channel,))
    arm.description = replace(arm.description, layout=layout, limits=limits)
    arm.state = np.array([1.5])
    preflight, now = looked(arm, seen=None)
    told = list(preflight.lines(now))
    assert "position       joint_0 at 1.5 rad, kept within -2 .. 2" in told
    assert not preflight.problems(now) and len(preflight.warnings(now)) == 1
    arm.state = np.array([2.5])
    assert "joint_0: outside the limits" in preflight.warnings(arm.observe())[-1]
    arm.state = np.array([np.nan])
    assert "position of ['joint_0'] is not known" in preflight.problems(arm.observe())[0]


def test_warnings_name_what_looks_wrong(tight):
    tight.state[0] = 0.9
    preflight, now = looked(tight)
    dark, strange = preflight.warnings(now)
    assert "'front' shows nothing" in dark and strange.startswith("joint_0: further out")
    free, now = looked(FakeRobot(), seen=None)
    assert "or acceleration of joint_0, joint_1, joint_2, gripper" in free.warnings(now)[-1]
    simulated, now = looked(FakeRobot(), seen=None, is_real=False)
    assert len(simulated.warnings(now)) == 1


@pytest.mark.parametrize("is_real", [True, False])
@pytest.mark.parametrize("is_here", [True, False])
def test_a_policy_that_shares_a_real_robots_process_is_warned_of(tight, is_real, is_here):
    preflight, now = looked(tight, is_real=is_real)
    told = "\n".join(replace(preflight, is_here=is_here).warnings(now))
    assert ("rvq-vla serve" in told) == (is_real and is_here)


HAND = ActionLayout(
    "hand", tuple(Channel(n, "m/s", "hand", DeltaRule.RAW) for n in ("vx", "vy", "vz"))
)
BOX = (Workspace(HAND.names, (-0.2, -0.2, 0.0), (0.2, 0.2, 0.3)),)
TURNED = {f"right_rot6d_{number}" for number in range(6)}


@pytest.mark.parametrize(
    ("layout", "limits", "free"),
    [
        (ARM, Limits({"gripper": ChannelLimits(0, 1, 2.0, 8.0)}), {"joint_0", "joint_1"}),
        (ARM, Limits({"joints/position": ChannelLimits(-1, 1, 2.0)}), {"joint_0", "gripper"}),
        (HAND, Limits(workspace=BOX), {"vx", "vy", "vz"}),
        (HAND, Limits({"hand": ChannelLimits(-1, 1)}, workspace=BOX), {"vx", "vy", "vz"}),
        (HAND, Limits({"hand": ChannelLimits(-1, 1, 10.0)}), {"vx", "vy", "vz"}),
        (WALL_26, Limits(rotations={"right_arm": RotationLimits(1.5)}), TURNED),
        (WALL_26, Limits(), TURNED),
    ],
)
def test_what_nothing_limits_is_named(arm, layout, limits, free):
    arm.description = replace(arm.description, layout=layout, limits=limits)
    arm.state = np.zeros(layout.width)
    preflight = Preflight(arm.description, FakePolicy().description, SETTINGS, is_real=True)
    warning = preflight.warnings(arm.observe())[-1]
    assert free <= set(warning.partition(" of ")[2].split(", "))


@pytest.mark.parametrize(
    ("layout", "limits", "bound"),
    [
        (ARM, Limits({"gripper": ChannelLimits(0, 1, 2.0, 8.0)}), {"gripper"}),
        (HAND, Limits({"hand": ChannelLimits(-1, 1, 10.0)}, workspace=BOX), set(HAND.names)),
        (WALL_26, Limits(rotations={"right_arm": RotationLimits(1.5, 6.0)}), TURNED),
    ],
)
def test_what_is_limited_is_not_named(arm, layout, limits, bound):
    arm.description = replace(arm.description, layout=layout, limits=limits)
    arm.state = np.zeros(layout.width)
    preflight = Preflight(arm.description, FakePolicy().description, SETTINGS, is_real=True)
    warning = preflight.warnings(arm.observe())[-1]
    assert not bound & set(warning.partition(" of ")[2].split(", "))
