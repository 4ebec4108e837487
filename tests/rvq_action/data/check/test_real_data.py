"""The known facts of the real recordings (their README) are what the checks find."""

import re

import pytest

from rvq_action.data.check import Status, check_dataset


@pytest.fixture(scope="module")
def found(shared_data):
    """Findings by row name, per dataset; each dataset is checked once."""
    cache = {}

    def of(name):
        if name not in cache:
            cache[name] = {f.name: f for f in check_dataset(shared_data / name)}
        return cache[name]

    return of


def share(message):
    return int(re.match(r"(\d+)%", message)[1]) / 100


@pytest.mark.parametrize("name", ["so101_pick_tape", "g1_bottle", "cr5_banana", "droid_franka"])
def test_nothing_fails(found, name):
    assert [f.name for f in found(name).values() if f.status is Status.FAIL] == []


def test_so101(found):
    rows = found("so101_pick_tape")
    assert rows["cameras: present"].status is Status.WARN
    assert "arm/position 3 to 4 frames behind (0.13 s" in rows["lag: action"].message
    assert "elbow_flex.pos at 100" in rows["channels: saturated"].message
    assert 0.15 < share(rows["idle: share"].message) < 0.25
    assert "low is closed" in rows["gripper: arm/gripper"].message
    assert rows["channels: wrap"].status is Status.PASS


def test_g1(found):
    rows = found("g1_bottle")
    lag = rows["lag: action"].message
    assert re.search(r"right_arm/position \d+ to \d+ frames behind \(0.17 s", lag)
    assert re.search(r"left_hand/gripper \d+ to \d+ frames behind \(0.30 s", lag)
    assert re.search(r"right_hand/gripper \d+ to \d+ frames behind \(0.37 s", lag)
    weak = rows["channels: weak"].message
    assert "kLeftShoulderPitch" in weak and "kRight" not in weak
    assert "each shown 2 times" in rows["pictures: head"].message


def test_cr5(found):
    rows = found("cr5_banana")
    assert rows["files: metadata"].message.startswith("LeRobot v2.1")
    assert rows["lag: action"].message.startswith("a velocity (it goes with d(state)/dt)")
    idle = rows["idle: share"].message
    assert 0.22 < share(idle) < 0.3 and "longest stretch 9.6 s" in idle
    assert "starts low in 100%" in rows["gripper: arm/gripper"].message
    assert "joint_4_vel" in rows["outliers: values"].message
    assert rows["pictures: top"].status is Status.PASS


def test_droid(found):
    rows = found("droid_franka")
    for camera in ("exterior_1", "exterior_2", "wrist"):
        assert rows[f"cameras: {camera}"].status is Status.PASS
        assert "about 5 Hz, each shown 3 times" in rows[f"pictures: {camera}"].message
    wraps = rows["channels: wrap"]
    assert wraps.status is Status.PASS and "observation.state roll" in wraps.message
    assert rows["language: coverage"].message.endswith("0, 4")
    assert "high is closed" in rows["gripper: right_arm/gripper"].message
    assert "action.joint_velocity" in rows["files: features"].message
    assert rows["lag: action.joint_velocity"].message.startswith("a velocity")


def test_droid_angles_as_plain_numbers_fail(shared_data, tmp_path):
    """Joint space, the mapping of last resort, is wrong for Euler angles: the check says so."""
    mapping = tmp_path / "joints.yaml"
    mapping.write_text(
        "embodiment: wrong\n"
        "layout: {name: pose, groups: {arm/pose: "
        "{channels: [x, y, z, roll, pitch, yaw], unit: mixed, delta: raw}}}\n"
        "action: {arm/pose: {feature: action, take: [x, y, z, roll, pitch, yaw]}}\n"
    )
    rows = {f.name: f for f in check_dataset(shared_data / "droid_franka", mapping)}
    assert rows["channels: wrap"].status is Status.FAIL
    assert "rotation: euler_xyz" in rows["channels: wrap"].fix
