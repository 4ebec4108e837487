"""Forward kinematics, and a box around a hand that joints move."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml

from rvq_action.layout import ActionLayout, Channel, DeltaRule
from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import RATE, FakePolicy, FakeRobot, drive
from vla.deploy.safety.kinematics import ForwardKinematics
from vla.deploy.safety.limiter import Limiter, LimitViolation
from vla.deploy.safety.limits import ChannelLimits, Limits

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="MuJoCo is not installed")

URDF = """<robot name="planar">
  <link name="base"/>
  <link name="upper"><visual><geometry><mesh filename="missing.stl"/></geometry></visual></link>
  <link name="lower"/>
  <link name="tip"/>
  <joint name="shoulder" type="revolute">
    <parent link="base"/><child link="upper"/><origin xyz="0 0 0.1"/><axis xyz="0 0 1"/>
    <limit lower="-3" upper="3" effort="1" velocity="1"/>
  </joint>
  <joint name="elbow" type="revolute">
    <parent link="upper"/><child link="lower"/><origin xyz="0.3 0 0"/><axis xyz="0 0 1"/>
    <limit lower="-3" upper="3" effort="1" velocity="1"/>
  </joint>
  <joint name="flange" type="fixed">
    <parent link="lower"/><child link="tip"/><origin xyz="0.2 0 0" rpy="0 0 0.5"/>
  </joint>
</robot>
"""
LOW, HIGH = [-1, -0.2, 0.0], [1, 0.2, 1.0]
DEGREE = math.pi / 180


def by_hand(shoulder: float, elbow: float) -> list[float]:
    """Where the tip is."""
    upper = np.array([math.cos(shoulder), math.sin(shoulder)]) * 0.3
    lower = np.array([math.cos(shoulder + elbow), math.sin(shoulder + elbow)]) * 0.2
    return [*(upper + lower), 0.1]


@pytest.fixture
def urdf(tmp_path) -> Path:
    path = tmp_path / "arm.urdf"
    path.write_text(URDF)
    return path


def hand(path: Path, **changes) -> dict:
    """The shoulder in degrees and turned round, the elbow as it is."""
    joints = {
        "joint_0": {"joint": "shoulder", "scale": -DEGREE, "zero": 10},
        "joint_1": {"joint": "elbow"},
    }
    box = {"urdf": path.name, "link": "tip", "joints": joints, "low": LOW, "high": HIGH}
    return box | changes


def limits(path: Path, **changes) -> Limits:
    return Limits.from_dict({"hands": [hand(path, **changes)]}, "limits", path.parent)


@pytest.mark.parametrize("angles", [(0, 0), (0.3, -0.7), (-1.2, 2.0)])
def test_the_hand_is_where_a_ruler_finds_it(urdf, angles):
    arm = ForwardKinematics(urdf, "tip", ["shoulder", "elbow"])
    np.testing.assert_allclose(arm.position(np.array(angles)), by_hand(*angles), atol=1e-12)
    turned = sum(angles) + 0.5
    expected = [math.cos(turned), math.sin(turned), 0]
    np.testing.assert_allclose(arm.rotation(np.array(angles))[:, 0], expected, atol=1e-12)


def test_joints_go_by_name_and_those_beyond_the_link_stand_at_zero(urdf):
    turned = ForwardKinematics(urdf, "tip", ["elbow", "shoulder"])
    np.testing.assert_allclose(turned.position(np.array([0.4, 0.1])), by_hand(0.1, 0.4))
    short = ForwardKinematics(urdf, "upper", ["shoulder"])
    angle = np.array([0.4])
    np.testing.assert_allclose(short.position(angle), [0, 0, 0.1], atol=1e-12)
    np.testing.assert_allclose(short.rotation(angle)[:, 0], [math.cos(0.4), math.sin(0.4), 0])


@pytest.mark.parametrize("given", ["shoulder", "elbow"])
def test_a_joint_that_moves_the_link_has_to_be_given(urdf, given):
    missing = {"shoulder": "elbow", "elbow": "shoulder"}[given]
    with pytest.raises(ValueError, match=rf"\['{missing}'\] move the link 'tip'.*\['{given}'\]"):
        ForwardKinematics(urdf, "tip", [given])


@pytest.mark.parametrize(
    ("unit", "scale", "words"),
    [
        ("rad/s", 1.0, r"names \['joint_1'\], which layout 'two' commands by velocity"),
        ("normalized", None, r"needs the scale of 'joint_1': how many rad .* one 'normalized'"),
        ("normalized", 0.02, None),
        ("rad", None, None),
    ],
)
def test_a_channel_is_the_position_of_its_joint_in_a_known_unit(urdf, unit, scale, words):
    channels = [
        Channel(name, unit if name == "joint_1" else "rad", "joints", DeltaRule.RAW)
        for name in ("joint_0", "joint_1")
    ]
    layout = ActionLayout("two", tuple(channels))
    joints = hand(urdf)["joints"]
    if scale is not None:
        joints["joint_1"]["scale"] = scale
    with nullcontext() if words is None else pytest.raises(ValueError, match=words):
        Limiter(limits(urdf, joints=joints), layout, RATE)


def test_what_is_no_urdf_is_named(urdf, tmp_path):
    with pytest.raises(FileNotFoundError, match="no URDF .*nowhere.urdf"):
        ForwardKinematics(tmp_path / "nowhere.urdf", "tip", [])
    with pytest.raises(ValueError, match=r"no link 'hand'; it has \['base', 'upper'"):
        ForwardKinematics(urdf, "hand", [])
    with pytest.raises(ValueError, match=r"no joint \['wrist'\] that moves; it has \['shoulder'"):
        ForwardKinematics(urdf, "tip", ["wrist"])
    for text, words in (("<robot", "no URDF that can be read"), ("<sdf/>", "<sdf>, not <robot>")):
        urdf.write_text(text)
        with pytest.raises(ValueError, match=words):
            ForwardKinematics(urdf, "tip", [])


def heights(sent: np.ndarray) -> np.ndarray:
    """y of the tip for commands [n, D]."""
    shoulders = -DEGREE * (sent[:, 0] - 10)
    return np.array([by_hand(s, e)[1] for s, e in zip(shoulders, sent[:, 1], strict=True)])


class Swings(FakePolicy):
    """The shoulder goes to the left, far beyond the box, and comes back."""

    def act(self, request) -> np.ndarray:
        chunk = np.zeros((10, 4))
        turn = 60 * np.sin((10 * request.number + np.arange(10)) / 10)
        chunk[:, 0] = 10 - turn
        return chunk


def test_a_swing_ends_at_the_wall_and_comes_back(urdf):
    robot = FakeRobot(limits(urdf))
    robot.state[0] = 10.0
    told = {"mode": "receding", "execute_frames": 10, "periods": 40}
    report, robot, _ = drive(robot, Swings(), **told)
    ys, free = (
        heights(robot.sent()),
        heights(np.stack([Swings().act(_Asked(n)) for n in range(4)]).reshape(-1, 4)),
    )
    assert free.max() > 0.4 and ys.max() == pytest.approx(0.2, abs=1e-5)
    inside = np.abs(free) < 0.199
    np.testing.assert_allclose(ys[inside], free[inside], atol=1e-9)
    assert report.clipped["joint_0"] > 5 and set(report.clipped) == {"joint_0"}


class _Asked:
    def __init__(self, number: int) -> None:
        self.number = number


TWO_ARMS = """<robot name="two_arms">
  <link name="base"/><link name="torso"/><link name="left"/><link name="right"/>
  <joint name="waist" type="continuous">
    <parent link="base"/><child link="torso"/><axis xyz="0 0 1"/>
  </joint>
  <joint name="left_shoulder" type="continuous">
    <parent link="torso"/><child link="left"/><origin xyz="0 0.2 0"/><axis xyz="0 0 1"/>
  </joint>
  <joint name="right_shoulder" type="continuous">
    <parent link="torso"/><child link="right"/><origin xyz="0 -0.2 0"/><axis xyz="0 0 1"/>
  </joint>
  <link name="left_hand"/><link name="right_hand"/>
  <joint name="left_wrist" type="fixed">
    <parent link="left"/><child link="left_hand"/><origin xyz="0.3 0 0"/>
  </joint>
  <joint name="right_wrist" type="fixed">
    <parent link="right"/><child link="right_hand"/><origin xyz="0.3 0 0"/>
  </joint>
</robot>
"""
WALLS = {"left": (0.0, 0.35), "right": (-0.35, 0.0)}
"""Of y: each hand keeps to its side."""


def two_arms(folder: Path, first: str) -> Limits:
    """Two hands that the same waist turns; the box of one is looked at first."""
    (folder / "two_arms.urdf").write_text(TWO_ARMS)
    boxes = []
    for number, (side, (low, high)) in enumerate(WALLS.items()):
        joints = {
            "joint_0": {"joint": "waist"},
            f"joint_{number + 1}": {"joint": f"{side}_shoulder"},
        }
        box = {"joints": joints, "low": [-1, low, -1], "high": [1, high, 1]}
        boxes.append(box | {"urdf": "two_arms.urdf", "link": f"{side}_hand"})
    return Limits.from_dict({"hands": boxes[:: 1 if first == "left" else -1]}, "limits", folder)


@pytest.mark.parametrize("first", WALLS)
def test_hands_that_share_a_joint_all_stay_in_their_boxes(tmp_path, first):
    limiter, rng = Limiter(two_arms(tmp_path, first), ARM, RATE), np.random.default_rng(0)
    limiter.start(np.zeros(4))
    asked = [[*rng.uniform(-1.5, 1.5, 3), 0] for _ in range(300)]
    sent = np.array([limiter.limit(np.array(wish), np.zeros(4)).values for wish in asked])
    waist = sent[:, 0]
    for number, (low, high) in enumerate(WALLS.values()):
        mount = (0.2, -0.2)[number] * np.cos(waist)
        y = mount + 0.3 * np.sin(waist + sent[:, number + 1])
        assert y.min() >= low - 1e-9 and y.max() <= high + 1e-9
        assert np.ptp(y) > 0.25
    assert np.ptp(sent, axis=0)[:3].min() > 0.5


def test_a_hand_at_its_wall_leaves_another_its_own_joint(tmp_path):
    limiter = Limiter(two_arms(tmp_path, "left"), ARM, RATE)
    limiter.start(np.zeros(4))
    waist, left, right = limiter.limit(np.array([0, 1.5, 0.3, 0]), np.zeros(4)).values[:3]
    assert 0.2 + 0.3 * math.sin(left) == pytest.approx(0.35, abs=1e-5)
    assert (waist, right) == (0, 0.3)


def test_a_box_and_the_position_of_another_joint_are_both_kept(urdf):
    channels = [Channel(n, "rad", "joints", DeltaRule.RAW) for n in ("joint_0", "joint_1")]
    turret = Channel("turret", "rad/s", "turret", DeltaRule.RAW)
    layout = ActionLayout("turret", (turret, *channels))
    bounds = {"turret": ChannelLimits(-2, 2, 10.0, position=(-0.4, 0.3))}
    limiter = Limiter(replace(limits(urdf), channels=bounds), layout, RATE)
    rng, at, ys = np.random.default_rng(0), np.array([0.0, 10.0, 0.0]), []
    limiter.start(at)
    for asked in rng.uniform([-3, -60, -1], [3, 80, 1], (200, 3)):
        turn, *joints = limiter.limit(asked, at).values
        at = np.array([at[0] + turn / RATE, *joints])
        assert -0.4 - 1e-9 <= at[0] <= 0.3 + 1e-9
        ys.append(heights(np.array([joints]))[0])
    assert max(np.abs(ys)) <= 0.2 + 1e-9 and np.ptp(ys) > 0.3


def test_a_command_may_stop_the_robot_instead(urdf):
    strict = Limiter(replace(limits(urdf), on_violation="stop"), ARM, RATE)
    strict.start(np.array([10.0, 0, 0, 0]))
    with pytest.raises(LimitViolation, match="joint_0"):
        strict.limit(np.array([-50.0, 0, 0, 0]), np.zeros(4))


def test_a_hand_that_stands_outside_or_nowhere_does_not_begin(urdf):
    limiter = Limiter(limits(urdf), ARM, RATE)
    with pytest.raises(LimitViolation, match="hand 'tip' is at .*outside its box"):
        limiter.start(np.array([-50.0, 0, 0, 0]))
    with pytest.raises(LimitViolation, match="hand 'tip' is at .*nan"):
        limiter.start(np.array([np.nan, 0, 0, 0]))


def test_it_is_read_and_written_and_its_file_lies_beside(urdf):
    path = urdf.parent / "limits.yaml"
    path.write_text(yaml.safe_dump({"hands": [hand(urdf)]}))
    read = Limits.from_yaml(path)
    assert read == limits(urdf) and read.hands[0].urdf == urdf
    assert Limits.from_dict(read.to_dict()) == read


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"low": [0, 0, 2]}, "low below high in each of x, y and z"),
        ({"joints": {"joint_0": {"joint": "shoulder", "scale": 0}}}, "scale must not be 0"),
        ({"joints": {"joint_0": {"jiont": "shoulder"}}}, r"unknown keys \['jiont'\]"),
        ({"joints": {"wrist": {"joint": "elbow"}}}, r"names \['wrist'\], which layout"),
        ({"urdf": "other.urdf"}, "no URDF .*other.urdf"),
        ({"mesh": "x"}, r"unknown keys \['mesh'\]"),
    ],
)
def test_boxes_that_are_none(urdf, changes, words):
    layout: ActionLayout = ARM
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        Limiter(limits(urdf, **changes), layout, RATE)


def test_the_table_before_a_run_says_where_the_hand_is(urdf):
    from vla.deploy.drive.preflight import Preflight
    from vla.deploy.settings import DeploymentSettings

    robot = FakeRobot(limits(urdf))
    robot.state[0] = 10.0
    settings = DeploymentSettings("wave", keys=False)
    preflight = Preflight(robot.description, FakePolicy().description, settings, is_real=True)
    now = robot.observe()
    assert "hand           tip at [0.5 0.  0.1] m" in "\n".join(preflight.lines(now))
    robot.state[0] = -50.0
    assert "outside its box" in preflight.problems(robot.observe())[0]
