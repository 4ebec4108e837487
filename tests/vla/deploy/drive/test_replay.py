"""`rvq-vla replay`: what was recorded is done again, within limits, after a yes."""

from __future__ import annotations

import json
import socket
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from rvq_action.data.dataset import RobotDataset
from rvq_action.layout import ActionLayout
from tests.vla.deploy.conftest import FakePolicy, drive
from tests.vla.deploy.drive.conftest import LENGTH
from tests.vla.deploy.robots.test_config import ARM
from tests.vla.deploy.robots.test_lerobot import NAMES, START, StandIn
from vla.cli import main
from vla.deploy.clock import SimulatedClock
from vla.deploy.drive import go
from vla.deploy.drive.recorded import RecordedPolicy, Tracking
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.playing.schedule import Due
from vla.deploy.policies.policy import Request
from vla.deploy.report import Reason
from vla.deploy.robots.protocol import RobotObservation
from vla.deploy.safety.hold import Problem
from vla.deploy.witness import Step


@pytest.fixture
def arm(lerobot_installed, monkeypatch, tmp_path) -> StandIn:
    """The arm that the file describes; its time is simulated, whatever the command says."""
    monkeypatch.chdir(tmp_path)

    def at_once(policy):
        return SimulatedInference(policy, SimulatedClock())

    monkeypatch.setattr("vla.deploy.run.InferenceThread", at_once)
    made = StandIn()
    monkeypatch.setattr("vla.deploy.robots.lerobot.build", lambda *told: made)
    monkeypatch.setattr(go, "MonotonicClock", SimulatedClock)
    return made


def pans(arm: StandIn) -> list[float]:
    return [call["shoulder_pan.pos"] for call in arm.calls]


def test_a_recorded_swing_comes_out_again(recording, arm_file, arm, capsys):
    words = ["replay", "--recording", str(recording), "--robot", str(arm_file), "--yes"]
    assert main([*words, "--full_speed", "--approach_s", "0"]) == 0
    swing = [pan for pan in pans(arm) if pan > 1.0][: LENGTH - 1]
    np.testing.assert_allclose(swing, 1 + np.linspace(0, 10, LENGTH)[1:], atol=1e-4)
    told = capsys.readouterr().out
    assert "ended          done" in told and "commands       20 sent, none clipped" in told
    assert "shoulder_pan         normalized" in told.splitlines()[-6]


def test_it_is_slow_unless_told_otherwise_and_comes_from_where_the_robot_stands(
    recording, arm_file, arm
):
    arm.positions["shoulder_pan.pos"] = 5.0
    words = ["replay", "--recording", str(recording), "--robot", str(arm_file), "--yes"]
    assert main([*words, "--approach_s", "0.2"]) == 0
    steps = np.abs(np.diff([5.0, *pans(arm)]))
    assert steps.max() == pytest.approx(4 / 6 / 5, abs=1e-3)
    assert min(pans(arm)) == pytest.approx(1.0, abs=1e-3)
    assert len(arm.calls) == pytest.approx(5 * (LENGTH + 6 - 1), abs=3)


def test_a_call_from_elsewhere_stops_it(recording, arm_file, arm, capsys, monkeypatch):
    """In the middle of the swing; nothing is told to the arm after it but to stay."""
    port = find_port()

    def send(action):
        arm.positions = dict(action)
        arm.calls.append(action)
        if len(arm.calls) == 20:
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/stop", timeout=30)
            assert page.status == 200
        return action

    monkeypatch.setattr(arm, "send_action", send, raising=False)
    words = ["replay", "--recording", str(recording), "--robot", str(arm_file), "--yes"]
    assert main([*words, "--stop_at", f"127.0.0.1:{port}"]) == 4
    assert "emergency stop (a call of the server)" in capsys.readouterr().out
    assert len(arm.calls) <= 22 and pans(arm)[-1] == pytest.approx(pans(arm)[19], abs=0.2)
    assert main([*words, "--stop_at", "8001"]) == 1
    assert "--stop_at takes HOST:PORT" in capsys.readouterr().err


def test_the_key_of_the_stop_is_not_that_of_policy_servers(monkeypatch):
    monkeypatch.setenv("RVQ_ACTION_API_KEY", "shown-to-servers")
    monkeypatch.delenv("RVQ_ACTION_STOP_KEY", raising=False)
    assert go.read_address("127.0.0.1:8001").key is None
    with pytest.raises(ValueError, match=r"RVQ_ACTION_STOP_KEY"):
        go.read_address("0.0.0.0:8001")
    monkeypatch.setenv("RVQ_ACTION_STOP_KEY", "stops")
    assert go.read_address("0.0.0.0:8001").key == "stops"


def find_port() -> int:
    """One that is free."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_real_robot_is_recorded_unless_told_otherwise(recording, arm_file, arm, capsys):
    words = ["replay", "--recording", str(recording), "--robot", str(arm_file), "--yes"]
    assert main([*words, "--no_record"]) == 0
    assert not Path("runs").exists()
    assert main([*words, "--record", "mine"]) == 0
    assert Path("mine/report.json").is_file() and not Path("runs").exists()
    assert main(words) == 0
    (made,) = Path("runs").iterdir()
    assert made.name.startswith("drive-2") and (made / "dataset").is_dir()
    assert f"recording      {made}" in capsys.readouterr().out
    assert main([*words, "--record", "mine", "--no_record"]) == 1
    assert "--record or --no_record, not both" in capsys.readouterr().err


def test_limits_hold_here_too(recording, tmp_path, arm, capsys):
    limits = {"channels": {"shoulder_pan": {"high": 6.0, "velocity": 60, "acceleration": 600}}}
    path = tmp_path / "careful.yaml"
    path.write_text(yaml.safe_dump(ARM | {"limits": limits}))
    words = ["replay", "--recording", str(recording), "--robot", str(path), "--yes"]
    assert main([*words, "--full_speed"]) == 0
    assert 5.5 < max(pans(arm)) <= 6.0 and "clipped shoulder_pan" in capsys.readouterr().out


def test_nothing_moves_without_a_yes(recording, arm_file, arm, capsys, monkeypatch):
    words = ["replay", "--recording", str(recording), "--robot", str(arm_file)]
    assert main(words) == 1
    assert "Nobody is there to be asked" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert main(words) == 1
    assert "Not confirmed; nothing has moved" in capsys.readouterr().err
    assert not arm.calls and not arm.is_connected


def test_what_does_not_fit_is_said(recording, arm_file, arm, capsys):
    robot = ["--robot", str(arm_file)]
    for words, said in (
        (["--recording", str(recording), "--dataset", "x"], "Give --recording or --dataset"),
        (["--recording", str(recording), "--speed", "0.5", "--full_speed"], "not both"),
        (["--recording", str(recording), "--simulated_clock"], "A real robot takes real time"),
        (["--recording", str(recording), "--approach_s", "-1"], "0 or more; got -1"),
        (["--recording", str(recording), "--speed", "0"], "above 0 and up to 1: 0"),
        (["--recording", str(recording), "--record", str(recording)], "File exists"),
        (["--dataset", str(recording / "dataset"), "--episode", "4"], "0..0, not 4"),
    ):
        assert main(["replay", *words, *robot]) == 1
        assert said in capsys.readouterr().err


def test_a_recording_plays_on_a_recording(tmp_path, capsys):
    """No hardware: what comes out is what went in."""
    dataset = drive(policy=FakePolicy(), periods=12, record=tmp_path / "run")[0].dataset
    words = ["replay", "--dataset", str(dataset), "--robot", f"replay:{dataset}"]
    again = ["--record", str(tmp_path / "again"), "--simulated_clock", "--full_speed"]
    assert main([*words, *again]) == 0
    first, second = (
        RobotDataset.open(p).episodes[0] for p in (dataset, tmp_path / "again/dataset")
    )
    np.testing.assert_allclose(second.actions, first.actions, atol=1e-6)
    report = json.loads((tmp_path / "again" / "report.json").read_text())
    assert report["ending"] in ("done", "time is up") and report["sent"] == 12
    assert "camera         front: 24 x 16" in capsys.readouterr().out


def test_how_far_off_a_state_was_is_not_said_in_the_unit_of_a_velocity(recording):
    dataset = RobotDataset.open(recording / "dataset")
    policy = RecordedPolicy(dataset)
    first, *rest = policy.description.layout.channels
    layout = ActionLayout("swing", (replace(first, unit="rad/s"), *rest))
    policy.description = replace(policy.description, layout=layout)
    tracking = Tracking(policy, errors=[np.ones(6)])
    _, velocity, place, *_ = tracking.lines()
    assert velocity.split() == ["shoulder_pan", "own", "unit", "1", "1"]
    assert place.split() == ["shoulder_lift", "normalized", "1", "1"]


def test_the_approach_is_a_straight_line_from_where_the_robot_stands(recording):
    dataset = RobotDataset.open(recording / "dataset")
    policy = RecordedPolicy(dataset, approach_s=0.1)
    state = np.array([*[START[name] for name in NAMES[:5]], np.nan])
    state[0] = 4.0
    chunk = policy.act(Request(RobotObservation(0.0, state, {}), "go"))
    assert chunk.shape == (LENGTH + 3, 6)
    np.testing.assert_allclose(chunk[:4, 0], [4, 3, 2, 1], atol=1e-5)
    np.testing.assert_allclose(chunk[:3, 5], 0.6, atol=1e-5)


def test_a_replay_that_was_interrupted_does_not_go_back_to_its_beginning(recording):
    policy = RecordedPolicy(RobotDataset.open(recording / "dataset"))
    with pytest.raises(ValueError, match="Replay it from where it begins"):
        policy.act(Request(RobotObservation(0.0, np.zeros(6), {}), "go", number=1))


@pytest.mark.parametrize(("told", "over"), [((15.0, 16.5, 18.0), True), ((0.0, 1.5, 3.0), False)])
def test_an_episode_whose_last_frame_lies_between_two_periods_ends(recording, told, over):
    policy = RecordedPolicy(RobotDataset.open(recording / "dataset"))
    tracking, late = Tracking(policy), Problem(Reason.LATE, "nothing is due")
    seen = RobotObservation(0.0, np.zeros(6, dtype=np.float32), {})
    for frame in told:
        tracking.step(Step(0.0, seen, Due(np.zeros(6), 0, frame), np.zeros(6), (), None))
    assert not tracking.is_over and policy.description.horizon == 20
    tracking.step(Step(0.0, seen, None, None, (), late))
    assert tracking.is_over is over
