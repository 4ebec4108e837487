"""LeRobot's robots, by a stand-in that keeps to LeRobot's contract."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest

from rvq_action.data.mapping import Mapping
from rvq_action.data.resolve import load_mapping, packaged_mappings
from rvq_action.data.rows import RowMapping
from tests.vla.deploy.conftest import SIZE
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.policies.policy import PolicyDescription
from vla.deploy.robots import lerobot
from vla.deploy.robots.config import read_robot
from vla.deploy.robots.protocol import RobotError
from vla.deploy.run import run
from vla.deploy.safety.limits import ChannelLimits, Limits
from vla.deploy.settings import DeploymentSettings

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
NAMES = tuple(f"{joint}.pos" for joint in JOINTS)
START = dict(zip(NAMES, (1.0, 2.0, 3.0, 4.0, 5.0, 60.0), strict=True))


def mapping() -> RowMapping:
    """That of SO-101's datasets, as a tokenizer keeps it."""
    known = Mapping.from_yaml(packaged_mappings()["so101"])
    return RowMapping(known.with_columns(lambda feature: NAMES))


@dataclass
class Follower:
    """What LeRobot's `SOFollowerConfig` is, with its defaults for power and unit."""

    port: str = ""
    id: str = ""
    disable_torque_on_disconnect: bool = True
    use_degrees: bool = True


@dataclass
class TwoFollowers:
    """What LeRobot's `BiSOFollowerConfig` is."""

    left_arm_config: Follower
    right_arm_config: Follower


@dataclass
class FlatPair:
    """What LeRobot's `BiSO100FollowerConfig` was: one configuration for two arms."""

    left_arm_port: str = ""
    left_arm_disable_torque_on_disconnect: bool = True
    left_arm_use_degrees: bool = False
    right_arm_disable_torque_on_disconnect: bool = True


class StandIn:
    """What LeRobot's `Robot` is: features known unconnected, the rest refused until connected."""

    name = "so101_follower"

    def __init__(self, names=NAMES, calibrated=True, config=None) -> None:
        self.config, self.has_power = config or Follower(), True
        self.is_connected, self.is_calibrated, self.calls = False, calibrated, []
        self.positions = dict(zip(names, START.values(), strict=False))

    @property
    def observation_features(self) -> dict:
        return dict.fromkeys(self.positions, float) | {"front": (*SIZE, 3)}

    @property
    def action_features(self) -> dict:
        return dict.fromkeys(self.positions, float)

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate, "nobody is there to calibrate"
        self.is_connected = True

    def get_observation(self) -> dict:
        assert self.is_connected
        image = np.full((*SIZE, 3), len(self.calls) % 256, dtype=np.uint8)
        return {**self.positions, "front": image}

    def send_action(self, action: dict) -> dict:
        assert self.is_connected and set(action) == set(self.positions)
        assert all(type(value) is float for value in action.values())
        self.positions = dict(action)
        self.calls.append(action)
        return action

    def disconnect(self) -> None:
        assert self.is_connected
        self.is_connected = False
        self.has_power = not self.config.disable_torque_on_disconnect

    def __str__(self) -> str:
        return "my SO-101"


def made(robot: StandIn | None = None, **more) -> tuple[lerobot.LeRobotArm, StandIn]:
    robot = robot or StandIn()
    return lerobot.LeRobotArm(robot, mapping(), 30.0, **more), robot


def test_its_numbers_become_channels_and_commands_its_numbers():
    arm, robot = made()
    arm.connect()
    seen = arm.observe()
    np.testing.assert_allclose(seen.proprio, [1, 2, 3, 4, 5, 0.6], rtol=1e-6)
    assert seen.images["front"].shape == (*SIZE, 3) and arm.description.cameras == {"front": SIZE}
    arm.send(np.array([1.5, 2, 3, 4, 5, 0.25]))
    assert robot.calls[-1] == pytest.approx(START | {"shoulder_pan.pos": 1.5, "gripper.pos": 25.0})


def test_it_is_held_where_it_was_told_to_be_or_where_it_stands():
    arm, robot = made()
    arm.connect()
    arm.hold(None)
    assert robot.calls[-1] == pytest.approx(START)
    arm.hold(np.array([9.0, 2, 3, 4, 5, 1.0]))
    assert robot.calls[-1]["shoulder_pan.pos"] == 9.0
    arm.disconnect()
    arm.disconnect()
    assert not robot.is_connected


def test_it_is_stopped_where_it_was_told_to_be_however_far_it_is_from_where_it_was_seen():
    arm, robot = made()
    arm.connect()
    arm.send(np.array([9.0, 2, 3, 4, 5, 1.0]))
    robot.positions["shoulder_pan.pos"] = 4.0
    arm.observe()
    arm.stop()
    assert robot.calls[-1]["shoulder_pan.pos"] == 9.0 and robot.is_connected


def test_an_arm_that_hangs_under_its_load_does_not_sink_while_it_is_held():
    arm, robot = made()
    arm.connect()
    arm.observe()
    for _ in range(3):
        arm.hold(None)
        robot.positions["shoulder_lift.pos"] -= 1.0
        arm.observe()
    arm.stop()
    assert [call["shoulder_lift.pos"] for call in robot.calls] == pytest.approx([2.0] * 4)


def test_an_arm_that_is_connected_again_is_held_where_it_is_then():
    arm, robot = made()
    arm.connect()
    arm.send(np.array([9.0, 2, 3, 4, 5, 1.0]))
    arm.disconnect()
    robot.positions["shoulder_pan.pos"] = -50.0
    arm.connect()
    arm.hold(None)
    assert robot.calls[-1]["shoulder_pan.pos"] == -50.0


CART = ("lift.pos", "x.vel", "theta.vel")


class Cart(StandIn):
    """Takes a part of its numbers, too, and then keeps to what it has of the others."""

    def send_action(self, action: dict) -> dict:
        super().send_action(self.positions | action)
        self.calls[-1] = action
        return action


def made_cart(*seen: str) -> tuple[lerobot.LeRobotArm, Cart]:
    """A lift on a base that is told velocities; connected, and what it says of itself."""
    groups = {
        "arm/position": {"channels": ["lift"], "unit": "normalized", "delta": "raw"},
        "base/velocity": {"channels": ["x", "theta"], "unit": "m/s", "delta": "raw"},
    }
    takes = {"arm/position": CART[:1], "base/velocity": CART[1:]}
    action = {g: {"feature": "action", "take": [*names]} for g, names in takes.items()}
    state = {
        g: {"feature": "state", "take": [*names]}
        for g, names in takes.items()
        if set(names) <= set(seen)
    }
    layout = {"name": "cart", "groups": groups}
    told = {"embodiment": "cart", "layout": layout, "action": action, "proprio": state}
    rows = RowMapping(Mapping.from_dict(told).with_columns(lambda feature: CART))
    robot = Cart(CART)
    arm = lerobot.LeRobotArm(robot, rows, 30.0)
    arm.connect()
    return arm, robot


def test_a_base_that_drives_stands_still_when_it_is_stopped():
    arm, robot = made_cart(*CART)
    arm.send(np.array([3.5, 0.25, 0.5]))
    arm.observe()
    arm.stop()
    assert robot.calls[-1] == {"lift.pos": 3.5, "x.vel": 0.0, "theta.vel": 0.0}


def test_a_base_stands_still_whatever_is_not_known_of_the_arm_on_it():
    arm, robot = made_cart("x.vel", "theta.vel")
    arm.stop()
    assert robot.calls == [{"x.vel": 0.0, "theta.vel": 0.0}]


def test_an_arm_that_nothing_can_be_told_says_so():
    arm, robot = made()
    robot.connect(calibrate=False)
    with pytest.raises(RobotError, match="my SO-101 does not say where it stands"):
        arm.stop()
    assert robot.calls == []


def test_an_arm_that_does_not_say_where_it_stands_is_not_driven():
    robot = StandIn()
    robot.positions["elbow_flex.pos"] = float("nan")
    with pytest.raises(RobotError, match="my SO-101 cannot be read:.*'elbow_flex.pos' is nan"):
        made(robot)[0].connect()
    assert not robot.is_connected


def test_a_state_that_is_not_a_number_is_never_sent_back():
    arm, robot = made()
    arm.connect()
    arm.observe()
    robot.positions["elbow_flex.pos"] = float("nan")
    with pytest.raises(ValueError, match="'elbow_flex.pos' is nan"):
        arm.observe()
    arm.hold(None)
    arm.stop()
    assert robot.calls == [pytest.approx(START)] * 2


def test_motors_and_cameras_of_other_names():
    names = [f"j{i}" for i in range(6)]
    motors, cameras = dict(zip(NAMES, names, strict=True)), {"wrist": "front"}
    arm, robot = made(StandIn(names), motors=motors, cameras=cameras)
    arm.connect()
    assert arm.observe().proprio[0] == 1.0 and set(arm.observe().images) == {"wrist"}
    arm.send(np.arange(6) / 10)
    assert robot.calls[-1]["j5"] == pytest.approx(50.0)


def test_an_arm_that_is_not_calibrated_is_let_go_of():
    arm, robot = made(StandIn(calibrated=False))
    with pytest.raises(RobotError, match="my SO-101 is not calibrated. Run lerobot-calibrate"):
        arm.connect()
    assert not robot.is_connected


def test_an_arm_that_is_not_there():
    robot = StandIn()

    def connect(calibrate):
        raise ConnectionError("no such port")

    robot.connect = connect
    with pytest.raises(RobotError, match="cannot be reached: no such port"):
        made(robot)[0].connect()


def test_robots_that_the_mapping_does_not_speak_of_are_refused():
    with pytest.raises(ValueError, match=r"speaks of \['shoulder_pan.pos'\].*under `motors`"):
        made(StandIn(("base.pos", *NAMES[1:])))
    with pytest.raises(ValueError, match=r"has the cameras \['front'\], not {'top': 'overhead'}"):
        made(cameras={"top": "overhead"})
    robot = StandIn()
    robot.positions["lift.pos"] = 0.0
    with pytest.raises(
        ValueError, match=r"takes \['lift.pos'\], which the mapping of 'so101' says"
    ):
        made(robot)


def test_a_policy_drives_it_within_its_limits():
    clock = SimulatedClock()
    limits = Limits({"arm/position": ChannelLimits(-100, 100, velocity=30.0)})
    arm, robot = made(limits=limits, now=clock.now)
    about = arm.description

    class Wild:
        description = PolicyDescription("so101", about.layout, 30.0, 8, {"eye": "front"})

        def reset(self):
            pass

        def act(self, request):
            return np.tile([50, -500, 3, 4, 5, 0.6], (8, 1))

    settings = DeploymentSettings("wave", seconds=1.0, keys=False)
    report = run(arm, Wild(), settings, clock, SimulatedInference(Wild(), clock))
    assert report.sent == 30 and not robot.is_connected
    pans = [call["shoulder_pan.pos"] for call in [START, *robot.calls]]
    assert max(np.diff(pans)) <= 1.0 + 1e-5 and pans[-1] == pytest.approx(31.0)
    assert min(call["shoulder_lift.pos"] for call in robot.calls) >= -30.0


@pytest.fixture
def lerobot_installed(monkeypatch) -> list[dict]:
    """Stand-ins for the modules; the configurations that were decoded."""
    decoded = []

    class RobotConfig:
        pass

    def decode(kind, data):
        assert kind is RobotConfig
        data = dict(data)
        decoded.append(data)
        if (found := data.pop("type")) == "bi_so_follower":
            return TwoFollowers(**{name: Follower(**part) for name, part in data.items()})
        if found == "bi_so100_follower":
            return FlatPair(**data)
        if found != "so101_follower":
            raise KeyError(found)
        return Follower(**data)

    for name, members in {
        "draccus": {"decode": decode},
        "lerobot": {},
        "lerobot.robots": {
            "RobotConfig": RobotConfig,
            "make_robot_from_config": lambda config: StandIn(config=config),
        },
        "lerobot.robots.so_follower": {},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return decoded


def test_a_robot_is_built_from_lerobots_own_configuration(lerobot_installed):
    config = {"type": "so101_follower", "port": "COM3", "id": "mine"}
    robot = lerobot.build(config, ["lerobot.robots.so_follower"])
    assert isinstance(robot, StandIn) and lerobot_installed == [{"port": "COM3", "id": "mine"}]
    with pytest.raises(ValueError, match="cannot build a robot of.*koch.*name the missing ones"):
        lerobot.build({"type": "koch"})


@pytest.mark.parametrize("asked", [None, False, True])
def test_an_arm_keeps_its_power_when_a_run_is_over_unless_it_is_told_to_fall(
    lerobot_installed, asked
):
    config = {"type": "so101_follower", "port": "COM3"}
    if asked is not None:
        config["disable_torque_on_disconnect"] = asked
    robot = lerobot.build(config)
    arm, _ = made(robot)
    arm.connect()
    arm.disconnect()
    assert not robot.is_connected and robot.has_power is not bool(asked)


def test_each_of_two_arms_keeps_its_power(lerobot_installed):
    left = {"port": "COM3", "disable_torque_on_disconnect": True}
    arms = {"left_arm_config": left, "right_arm_config": {"port": "COM4"}}
    config = lerobot.build({"type": "bi_so_follower", **arms}).config
    assert config.left_arm_config.disable_torque_on_disconnect
    assert not config.right_arm_config.disable_torque_on_disconnect


def test_both_arms_of_one_configuration_keep_their_power(lerobot_installed):
    told = {"left_arm_port": "COM3", "right_arm_disable_torque_on_disconnect": True}
    config = lerobot.build({"type": "bi_so100_follower", **told}).config
    assert not config.left_arm_disable_torque_on_disconnect
    assert config.right_arm_disable_torque_on_disconnect


def in_degrees() -> Mapping:
    """The mapping of recordings in degrees."""
    return load_mapping("so101_degrees")


@pytest.mark.parametrize("robot", [{"type": "so101_follower"}, {"type": "bi_so100_follower"}])
@pytest.mark.parametrize("is_in_degrees", [False, True])
def test_a_unit_that_nobody_speaks_of_has_to_be_the_one_of_the_recordings(
    lerobot_installed, robot, is_in_degrees
):
    recorded = in_degrees() if is_in_degrees else mapping().mapping
    word = "use_degrees" if robot["type"] == "so101_follower" else "left_arm_use_degrees"
    if is_in_degrees == (word == "use_degrees"):
        lerobot.build(robot, mapping=recorded)
    else:
        with pytest.raises(ValueError, match=f"Say `{word}`, as it was when .* were made"):
            lerobot.build(robot, mapping=recorded)
    lerobot.build({**robot, word: is_in_degrees}, mapping=recorded)


def test_the_unit_of_each_of_two_arms_is_looked_at(lerobot_installed):
    arms = {"left_arm_config": {"use_degrees": False}, "right_arm_config": {"port": "COM4"}}
    with pytest.raises(ValueError, match="Say `right_arm_config.use_degrees`"):
        lerobot.build({"type": "bi_so_follower", **arms}, mapping=mapping().mapping)


@pytest.mark.parametrize("is_in_degrees", [False, True])
def test_a_unit_that_is_said_has_to_be_the_one_of_the_recordings(lerobot_installed, is_in_degrees):
    recorded = in_degrees() if is_in_degrees else mapping().mapping
    unit = "deg" if is_in_degrees else "normalized"
    robot = {"type": "so101_follower", "use_degrees": not is_in_degrees}
    told = rf"`use_degrees` is {not is_in_degrees}, but the mapping .* joints in \['{unit}'\]"
    with pytest.raises(ValueError, match=rf"{told}.* say {is_in_degrees}"):
        lerobot.build(robot, mapping=recorded)
    arms = {
        "left_arm_config": {"use_degrees": is_in_degrees},
        "right_arm_config": {"use_degrees": not is_in_degrees},
    }
    with pytest.raises(ValueError, match="`right_arm_config.use_degrees` is"):
        lerobot.build({"type": "bi_so_follower", **arms}, mapping=recorded)


def test_degrees_that_a_mapping_turns_into_rad_are_degrees(lerobot_installed):
    told = in_degrees().to_dict()
    told["layout"]["groups"]["arm/position"]["unit"] = "rad"
    for terms in (told["action"], told["proprio"]):
        terms["arm/position"]["unit"] = "deg"
    robot, recorded = {"type": "so101_follower"}, Mapping.from_dict(told)
    lerobot.build(robot, mapping=recorded)
    with pytest.raises(ValueError, match=r"is False, but the mapping .* joints in \['deg'\]"):
        lerobot.build({**robot, "use_degrees": False}, mapping=recorded)


def test_a_unit_that_the_mapping_does_not_know_is_the_users_to_say(lerobot_installed):
    told = mapping().mapping.to_dict()
    told["layout"]["groups"]["arm/position"]["unit"] = "native"
    recorded, robot = Mapping.from_dict(told), {"type": "so101_follower"}
    with pytest.raises(ValueError, match="Say `use_degrees`"):
        lerobot.build(robot, mapping=recorded)
    for said in (False, True):
        lerobot.build({**robot, "use_degrees": said}, mapping=recorded)


@pytest.mark.parametrize("example", ["so101", "koch"])
def test_the_examples_are_in_percent_and_stay_under_power(example):
    told = read_robot(example).robot
    assert told["use_degrees"] is False and told["disable_torque_on_disconnect"] is False


def test_lerobot_itself_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "draccus", None)
    with pytest.raises(ValueError, match=r"LeRobot drives this robot, and is not installed here"):
        lerobot.build({"type": "so101_follower"})
