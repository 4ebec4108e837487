"""Robots as data: files, words and the packaged examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from rvq_action import WALL_26
from rvq_action.data.resolve import load_mapping
from rvq_action.data.rows import RowMapping
from tests.vla.deploy.conftest import SIZE, drive
from tests.vla.deploy.robots.test_lerobot import (  # noqa: F401
    NAMES,
    START,
    StandIn,
    lerobot_installed,
    mapping,
)
from vla.deploy.robots.config import EXAMPLES, load_robot, read_robot
from vla.deploy.robots.kinds import Defaults, LeRobotConfig, MetaWorldConfig, RemoteConfig
from vla.deploy.robots.remote_guest import RemoteKeys

ARM = {
    "kind": "lerobot",
    "rate": 30,
    "mapping": "so101",
    "limits": {"channels": {"gripper": {"low": 0, "high": 1}}},
    "lerobot": {
        "modules": ["lerobot.robots.so_follower"],
        "robot": {"type": "so101_follower", "use_degrees": False},
    },
}


def written(folder: Path, **changes) -> Path:
    """A file of the arm with some keys changed; None leaves one out."""
    data = {key: value for key, value in (ARM | changes).items() if value is not None}
    path = folder / "arm.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def test_a_file_becomes_an_arm_that_moves_as_it_says(tmp_path, lerobot_installed):  # noqa: F811
    (tmp_path / "soft.yaml").write_text("channels: {arm/position: {velocity: 30}}")
    path = written(tmp_path, cameras={"eye": "front"}, limits="soft.yaml")
    arm = load_robot(path)
    about = arm.description
    assert (about.embodiment, about.rate, about.cameras) == ("so101", 30.0, {"eye": SIZE})
    assert about.limits.channels["arm/position"].velocity == 30.0
    arm.connect()
    arm.send(np.array([9, 2, 3, 4, 5, 0.25]))
    moved = START | {"shoulder_pan.pos": 9.0, "gripper.pos": 25.0}
    assert arm._robot.positions == pytest.approx(moved) and read_robot(path).is_real


def test_what_it_does_not_say_comes_from_its_policy(tmp_path, lerobot_installed):  # noqa: F811
    path = written(tmp_path, rate=None, mapping=None)
    with pytest.raises(ValueError, match="give it the `mapping` of its dataset"):
        load_robot(path)
    with pytest.raises(ValueError, match="give its `rate` in Hz"):
        load_robot(path, Defaults(rows=mapping()))
    about = load_robot(path, Defaults(mapping(), 15.0)).description
    assert (about.embodiment, about.rate) == ("so101", 15.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "drone"}, r"`kind` is one of \['metaworld', .*got 'drone'"),
        ({"speed": 1}, r"unknown keys \['speed'\].*'limits', 'rate', 'mapping', .*'columns'\]"),
        ({"limits": None}, r"lacks the keys \['limits'\].*or {} where that is anything"),
        ({"limits": {"channels": {"gripper": {"low": 2, "high": 1}}}}, "low must lie below high"),
        ({"limits": {"channels": {"elbow": {"low": 0}}}}, r"limits name \['elbow'\]"),
        ({"rate": -3}, "rate must be positive, got -3"),
        ({"mapping": "so102"}, "No packaged mapping is called 'so102'"),
        ({"mapping": "mine.yaml"}, "There is no mapping file .*mine.yaml"),
        ({"columns": {"action": ["a"]}}, r"'shoulder_pan.pos'"),
        ({"columns": {"torque": ["a"]}}, r"`columns` names \['torque'\]"),
        ({"cameras": ["front"]}, "must be a map"),
        ({"lerobot": {"robot": {"port": "x"}}}, r"robot lacks the keys \['type'\]"),
        ({"lerobot": {"modules": []}}, r"lerobot lacks the keys \['robot'\].*as LeRobot writes it"),
        ({"lerobot": {"robot": {"type": "so101_follower"}}}, "Say `use_degrees`"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, lerobot_installed, changes, words):  # noqa: F811
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load_robot(written(tmp_path, **changes))


@pytest.mark.parametrize("kind", ["lerobot", "metaworld"])
def test_known_keys_are_named_once(tmp_path, kind):
    path = written(tmp_path, kind=kind, **{kind: {}}, speed=1)
    with pytest.raises(ValueError, match="Known keys are") as error:
        read_robot(path)
    assert str(error.value).count("'limits'") == 1


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("metaworld:", "written metaworld:NAME or metaworld:NAME#7"),
        ("metaworld:reach-v3#first", "got 'metaworld:reach-v3#first'"),
        ("metaworld:raech-v3", "Perhaps: reach-v3"),
        ("my_robot", r"examples \['koch', 'metaworld', 'remote', 'so101'\]"),
    ],
)
def test_words_that_are_none(word, words):
    with pytest.raises(ValueError, match=words):
        load_robot(word)
    with pytest.raises(FileNotFoundError, match=r"no robot file nowhere.yaml"):
        load_robot("nowhere.yaml")


def test_an_episode_by_a_word_and_by_a_file(tmp_path):
    dataset = drive(periods=6, record=tmp_path / "run")[0].dataset
    by_word = load_robot(f"replay:{dataset}#0")
    path = tmp_path / "mine.yaml"
    path.write_text("{kind: replay, cameras: [front], replay: {dataset: run/dataset}}")
    by_file = load_robot(path)
    assert by_word.description == by_file.description and len(by_word.recorded) == 6
    assert read_robot(path).instruction == "wave" and not read_robot(path).is_real
    path.write_text("{kind: replay, rate: 3, replay: {dataset: run/dataset}}")
    with pytest.raises(ValueError, match="has its own rate"):
        load_robot(path)
    gone = read_robot(f"replay:{dataset}#9999")
    for use in (lambda: gone.instruction, lambda: gone.build(Defaults())):
        with pytest.raises(ValueError, match=r"has episodes 0..0, not 9999"):
            use()


def test_a_simulated_task_needs_no_policy_to_be_moved(simulator):
    config = read_robot("metaworld:reach-v3#7")
    assert config == MetaWorldConfig("reach-v3", 7)
    assert config.instruction == "Move the gripper to the goal."
    arm = config.build(Defaults(image_size=56, cameras=("corner3",)))
    arm.connect()
    before = arm.observe()
    assert before.images["corner3"].shape == (56, 56, 3) and arm.description.rate == 20.0
    for _ in range(10):
        arm.send(np.array([0.0, 0.0, 0.2, 1.0]))
    arm_now = arm.observe().proprio
    arm.disconnect()
    assert arm_now[2] - before.proprio[2] > 0.03


def test_the_examples_are_whole(lerobot_installed, monkeypatch):  # noqa: F811
    """Each can be read, and those of which there is all that it takes can be built."""
    kinds = {file.stem: read_robot(file.stem) for file in EXAMPLES.glob("*.yaml")}
    assert isinstance(kinds["so101"], LeRobotConfig) and isinstance(kinds["remote"], RemoteConfig)
    made = StandIn()
    features = dict.fromkeys(NAMES, float) | dict.fromkeys(("front", "wrist"), (48, 64, 3))
    monkeypatch.setattr(StandIn, "observation_features", features)
    monkeypatch.setattr("vla.deploy.robots.lerobot.build", lambda *told: made)
    assert set(load_robot("so101").description.cameras) == {"front", "wrist"}
    assert load_robot("koch").description.embodiment == "koch"
    assert load_robot("metaworld").description.layout.names == ("vx", "vy", "vz", "gripper")
    names = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    droid = RowMapping(load_mapping("droid_franka").with_columns(lambda feature: names))
    assert load_robot("remote", Defaults(rows=droid)).description.layout == WALL_26


def test_a_robot_elsewhere_takes_a_key_from_the_environment(tmp_path, monkeypatch):
    view = {"key": "observation/image", "size": [8, 12]}
    remote = {"state": "observation/state", "port": 0, "key_variable": "MY_KEY", "time": "at"}
    told = {"kind": "remote", "lerobot": None, "remote": remote, "cameras": {"front": view}}
    path = written(tmp_path, **told)
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ValueError, match="the variable MY_KEY, which is empty"):
        load_robot(path)
    monkeypatch.setenv("MY_KEY", "secret")
    assert load_robot(path).description.cameras == {"front": (8, 12)}
    keys = RemoteKeys("observation/state", {"front": "observation/image"}, "at")
    assert load_robot(path)._guest._keys == keys
