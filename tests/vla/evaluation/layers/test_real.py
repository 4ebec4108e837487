"""Layers in front of a robot of metal: who lets it move, what stops it, and what is kept of it."""

from __future__ import annotations

import socket as sockets
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.vla.deploy.conftest import FakePolicy, FakeRobot
from tests.vla.deploy.server.conftest import get
from vla.deploy.safety.limits import ChannelLimits, Limits
from vla.deploy.server.access import Address
from vla.evaluation.layers import attempt, attempts, evaluate, sanity
from vla.evaluation.layers.gates import Gates
from vla.evaluation.layers.settings import EvalSettings


class RealConfig:
    """A stand-in for an arm that can break."""

    is_real, instruction = True, "wave"

    def __init__(self, robot: FakeRobot) -> None:
        self.robot = robot

    def build(self, defaults):
        return self.robot


@pytest.fixture
def real(subject, monkeypatch):
    """A subject in front of a robot of metal, and that robot."""
    robot = FakeRobot()
    for module in (attempt, attempts):
        monkeypatch.setattr(module, "read_robot", lambda word: RealConfig(robot))
    monkeypatch.setattr(attempts, "robot_digest", lambda word: word)
    monkeypatch.setattr(attempt, "DeployedVLA", lambda *args, **more: FakePolicy(real_time=True))
    seen = np.array([[-20.0] * 4, [20.0] * 4])
    monkeypatch.setattr(attempt, "seen_states", lambda tokenizer, embodiment: seen)
    settings = replace(subject.settings, robots=("arm",), trials=2, seconds=0.2, instruction="go")
    return replace(subject, settings=settings), robot


def test_nobody_beside_a_real_robot_means_that_it_does_not_move(real, tmp_path):
    subject, robot = real
    with pytest.raises(ValueError, match="arm moves for real: run this in a terminal"):
        attempts.measure(subject, tmp_path / "low_speed", 0.5)
    assert robot.calls == []


def test_a_real_robot_is_looked_over_before_every_trial(real, tmp_path, monkeypatch, capsys):
    """As `rvq-vla drive` does: one that stands where it may not, or without a yes, stays there."""
    subject, robot = real
    said = iter(["", "no", ""])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda words: next(said))
    with pytest.raises(ValueError, match="Not confirmed; nothing has moved"):
        attempts.measure(subject, tmp_path / "low_speed", 0.5)
    told = capsys.readouterr().out
    assert "seen in training" in told and "speed          0.5 of full speed" in told
    tight = Limits({"joint_0": ChannelLimits(-1, 1, 2.0, 8.0)})
    robot.description, robot.state[0] = replace(robot.description, limits=tight), 3.0
    with pytest.raises(ValueError, match="It must not move"):
        attempts.measure(subject, tmp_path / "low_speed", 0.5)
    assert set(robot.names()) == {"connect", "disconnect"}


def test_a_call_stops_a_trial(real, tmp_path, monkeypatch):
    """And a robot with a server of its own is given the same stop."""
    subject, robot = real
    with sockets.create_server(("127.0.0.1", 0)) as free:
        address = Address(port=free.getsockname()[1], key="secret")
    send, given = robot.send, []

    def send_and_call(command):
        send(command)
        if len(robot.sent()) == 3:
            assert get(address.port, "/stop")[0] == 401
            assert get(address.port, "/stop", Authorization="Api-Key secret")[0] == 200

    robot.send, build = send_and_call, RealConfig.build
    monkeypatch.setattr(
        RealConfig, "build", lambda self, defaults: given.append(defaults) or build(self, defaults)
    )
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda words: "yes")
    told = replace(subject, settings=replace(subject.settings, seconds=5.0, stop_at=address))
    (row,) = attempts.measure(told, tmp_path / "low_speed", 0.5)["trials"]
    assert (row["ending"], row["detail"]) == ("emergency stop", "a call of the server")
    assert given[0].stop.pressed.is_set() and robot.names()[-2:] == ["stop", "disconnect"]


def test_nobody_beside_a_real_robot_means_that_it_is_not_connected(real, monkeypatch, tmp_path):
    """Not even to be looked at; and that is no figure of the policy's."""
    subject, robot = real
    for module in ("sanity", "subject"):
        monkeypatch.setattr(
            f"vla.evaluation.layers.{module}.read_robot", lambda w: RealConfig(robot)
        )
    alone = replace(subject, settings=replace(subject.settings, data=None))
    with pytest.raises(ValueError, match="run this in a terminal"):
        sanity.measure(alone)
    assert robot.calls == []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or "")
    sanity.measure(alone)
    assert robot.names() == ["connect", "disconnect"] and "connected and looked at" in asked[0]


def test_without_a_dataset_nothing_real_moves(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "read_robot", lambda word: RealConfig(FakeRobot()))
    told = EvalSettings(tmp_path / "policy", robots=("arm",))
    with pytest.raises(ValueError, match="arm moves for real, and without a dataset"):
        evaluate.evaluate(told, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="There is no policy"):
        evaluate.evaluate(told, tmp_path / "out", through="sanity")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"pathway": "ar"}, "driven by the flow head, and --pathway ar looks at tokens"),
        ({"windows": 1}, "arm moves for real: --windows is at least 32, got 1"),
        ({"seconds": 0.1}, "arm moves for real: --seconds is at least 2, got 0.1"),
    ],
)
def test_nothing_moves_by_what_was_hardly_looked_at(monkeypatch, tmp_path, changed, says):
    monkeypatch.setattr(evaluate, "read_robot", lambda word: RealConfig(FakeRobot()))
    told = EvalSettings(tmp_path / "policy", "data", ("arm",), **changed)
    with pytest.raises(ValueError, match=says):
        evaluate.evaluate(told, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="There is no policy"):
        evaluate.evaluate(told, tmp_path / "out", through="open_loop")


def test_a_real_robot_that_stands_where_none_did_in_training_does_not_move(
    real, tmp_path, monkeypatch
):
    """As one of another calibration or in other units does; nobody is asked."""
    subject, robot = real
    robot.state[1] = 25.0
    said = iter([""])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda words: next(said))
    with pytest.raises(ValueError, match="must not move: joint_1: further out than the training"):
        attempts.measure(subject, tmp_path / "low_speed", 0.5)
    assert robot.names() == ["connect", "disconnect"]


def test_a_trial_that_nobody_answered_for_is_neither_lost_nor_repeated(real, tmp_path, monkeypatch):
    """Who sees a failure and leaves at the question has not undone it."""
    subject, _ = real
    told = replace(subject, settings=replace(subject.settings, trials=1))
    said = iter(["", "yes"])

    def answer(words: str) -> str:
        try:
            return next(said)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", answer)
    with pytest.raises(KeyboardInterrupt):
        attempts.measure(told, tmp_path / "low_speed", 0.5)
    figures = attempts.measure(told, tmp_path / "low_speed", 0.5)
    (row,) = figures["trials"]
    assert row["name"] == "arm-000" and row["sent"] and row["success"] is False
    assert "nobody said whether it was solved" in row["detail"] and not figures["cut_short"]
    assert (tmp_path / "low_speed" / "arm-000" / "steps.jsonl").stat().st_size
    peace, *_, solved = attempts.judge(figures, Gates(), 0.5)
    assert peace.passed and (solved.name, solved.passed) == ("solved", False)


def test_somebody_says_when_it_begins_and_whether_it_was_solved(real, tmp_path, monkeypatch):
    subject, robot = real
    said, asked = iter(["", "yes", "y", "", "yes", "perhaps", "n"]), []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or next(said))
    figures = attempts.measure(subject, tmp_path / "low_speed", 0.5)
    assert [row["success"] for row in figures["trials"]] == [True, False]
    assert "at 0.5 of full speed. Scene in order?" in asked[0] and len(asked) == 7
    assert "send" in robot.names() and not figures["cut_short"]


def test_after_a_trial_that_did_not_end_in_peace_somebody_has_to_look(real, tmp_path, monkeypatch):
    """It is the last one; given again the command repeats it, and keeps what went wrong."""
    subject, robot = real
    robot.lost_from, asked = 2, []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or "yes")
    told = replace(subject, settings=replace(subject.settings, seconds=1.3))
    figures = attempts.measure(told, tmp_path / "low_speed", 0.5)
    assert figures["cut_short"] and len(figures["trials"]) == 1 and len(asked) == 2
    assert not attempts.judge(figures, Gates(), 0.0)[0].passed
    (aborted,) = figures["trials"]
    folder = tmp_path / "low_speed" / aborted["name"]
    assert folder.name == "arm-000-aborted-1" and (folder / "steps.jsonl").stat().st_size
    robot.lost_from = None
    answers = iter(["", "yes", "y"])
    monkeypatch.setattr("builtins.input", lambda words: next(answers))
    once = replace(told, settings=replace(told.settings, trials=1))
    again = attempts.measure(once, tmp_path / "low_speed", 0.5)
    names = [row["name"] for row in again["trials"]]
    assert names == [folder.name, "arm-000"] and not again["cut_short"]
    assert (folder / "steps.jsonl").stat().st_size, "the evidence is still there"
    check, *_ = attempts.judge(again, Gates(), 0.0)
    assert not check.passed and "arm-000-aborted-1: held too long" in check.detail


def test_a_recording_that_nobody_wrote_a_result_of_is_kept_and_counted(real, tmp_path, monkeypatch):
    """That of a command that was killed; nothing at all is kept of one that did not move."""
    subject, _ = real
    left = [tmp_path / "low_speed" / f"arm-00{number}" for number in range(2)]
    for folder, lines in zip(left, ("{}\n", ""), strict=True):
        folder.mkdir(parents=True)
        (folder / "steps.jsonl").write_text(lines)
    answers = iter(["", "yes", "y"] * 2)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda words: next(answers))
    figures = attempts.measure(subject, tmp_path / "low_speed", 0.5)
    names = [row["name"] for row in figures["trials"]]
    assert names == ["arm-000-aborted-1", "arm-000", "arm-001"]
    assert (tmp_path / "low_speed" / names[0] / "steps.jsonl").read_text() == "{}\n"
    assert "interrupted" in attempts.judge(figures, Gates(), 0.0)[0].detail
