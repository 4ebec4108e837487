"""Every run is recorded, whatever happens to its process or its disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from rvq_action import WALL_26
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.recorded_speed import recorded_speed
from rvq_action.data.writer_staging import Staging
from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import RATE, FakePolicy, FakeRobot, drive
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.recording.journal import Journal, read_journal
from vla.deploy.recording.recorder import Recorder
from vla.deploy.recording.to_dataset import finalize
from vla.deploy.robots.protocol import RobotDescription, RobotObservation
from vla.deploy.run import run
from vla.deploy.safety.limits import ChannelLimits, Limits
from vla.deploy.settings import DeploymentSettings
from vla.deploy.witness import Step

ROOT = Path(__file__).parents[4]
PATIENCE_S = 120


def process(kind: str, folder: Path, **more) -> subprocess.Popen:
    """`recording_process.py` at work."""
    command = [
        sys.executable,
        "-m",
        "tests.vla.deploy.recording.recording_process",
        kind,
        str(folder),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, **more)


def nan_from_third(number, chunk):
    return chunk * (np.nan if number >= 3 else 1.0)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run that ended in a fault: 15 periods moving, then held, then stopped."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    limits = Limits({"joint_1": ChannelLimits(-1, 3.0)})
    robot, policy = FakeRobot(limits), FakePolicy(nan_from_third)
    report, robot, _ = drive(robot, policy, periods=200, record=folder)
    return report, robot, folder


def test_a_run_becomes_a_dataset_that_reads_like_any_other(recorded):
    report, robot, folder = recorded
    assert report.dataset == folder / "dataset" and not report.problems
    dataset = RobotDataset.open(report.dataset)
    assert (dataset.embodiment, dataset.layout, dataset.fps) == ("arm", ARM, RATE)
    episode = dataset.episodes[0]
    assert episode.task == "wave" and len(episode) == report.periods
    sent = robot.sent()
    np.testing.assert_allclose(episode.actions[: len(sent)], sent)
    np.testing.assert_allclose(episode.actions[len(sent) :], np.tile(sent[-1], (7, 1)))
    np.testing.assert_allclose(episode.proprio[1:][: len(sent)], sent)
    held = dataset.reader.episode(0)["held"]
    assert held.tolist() == [False] * 15 + [True] * 7


def test_its_pictures_are_those_that_were_seen(recorded):
    report, _, _ = recorded
    reader = RobotDataset.open(report.dataset).reader
    times = np.arange(reader.episode_length(0)) / RATE
    shown = reader.frames(0, "observation.images.front", times).mean((1, 2, 3))
    np.testing.assert_allclose(shown, np.arange(1, len(shown) + 1), atol=3)


def test_its_log_says_what_happened_and_when(recorded):
    report, _, folder = recorded
    events = read_journal(folder / "events.jsonl")
    assert [e["kind"] for e in events] == ["held", "end"]
    assert events[0]["time"] == pytest.approx(15 / RATE)
    assert "unusable chunk: the policy gave nan" in events[0]["detail"]
    steps = read_journal(folder / "steps.jsonl")
    assert [s["clipped"] for s in steps[:5]] == [[], [], [], [], ["joint_1"]]
    assert (steps[4]["due"][1], steps[4]["sent"][1]) == (4.0, 3.0)
    assert steps[-1]["sent"] is None and steps[-1]["held"] == "unusable chunk"
    told = json.loads((folder / "report.json").read_text())
    assert told["ending"] == report.ending == "held too long" and told["sent"] == 15
    assert json.loads((folder / "run.json").read_text())["instruction"] == "wave"


def test_its_video_plays_as_it_is(recorded):
    with av.open(str(recorded[2] / "videos" / "front.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == recorded[0].periods


def test_at_most_a_second_is_lost_to_a_kill(tmp_path):
    """Dead in the middle of the work, without a chance to close anything."""
    recording = process("kill", tmp_path / "run")
    for line in recording.stdout:
        if int(line) == 50:
            break
    recording.send_signal(signal.SIGKILL)
    recording.wait(PATIENCE_S)
    recording.stdout.close()
    dataset = RobotDataset.open(finalize(tmp_path / "run"))
    length = len(dataset.episodes[0])
    assert length >= 51 - RATE
    np.testing.assert_array_equal(dataset.episodes[0].actions[:, 2], np.arange(length))
    assert finalize(tmp_path / "run") == tmp_path / "run" / "dataset"


def test_a_full_disk_holds_the_robot_and_says_so(tmp_path):
    full = process("full", tmp_path / "run")
    output, _ = full.communicate(timeout=PATIENCE_S)
    told = json.loads(output)
    assert told["ending"] == "held too long" and "File too large" in told["detail"]
    assert "Make room on the disk" in told["problems"][0]
    assert told["tail"][-6:] == [*["hold"] * 4, "stop", "disconnect"]
    dataset = RobotDataset.open(finalize(tmp_path / "run"))
    assert 0 < len(dataset.episodes[0]) <= told["sent"] + 10


def test_a_disk_that_cannot_keep_up_is_a_problem_until_it_has(tmp_path):
    robot = FakeRobot().description
    recorder = Recorder(tmp_path / "run", robot, {"instruction": "wave"})
    gate = threading.Event()
    write, recorder._write = recorder._write, lambda entry: (gate.wait(), write(entry))
    image = np.zeros((16, 24, 3), dtype=np.uint8)
    for number in range(30):
        observation = RobotObservation(0.0, np.zeros(4), {"front": image})
        recorder.step(Step(number / RATE, observation, None, np.zeros(4), (), None))
    assert "the disk is too slow" in recorder.problem
    gate.set()
    recorder.flush()
    assert recorder.problem == ""
    recorder.close()
    assert 8 <= len(read_journal(tmp_path / "run" / "steps.jsonl")) < 30


def test_what_fails_before_anything_has_moved_leaves_no_folder(tmp_path):
    def no() -> None:
        raise ValueError("Not confirmed.")

    settings = DeploymentSettings("wave", 1.0, record=tmp_path / "run", keys=False)
    with pytest.raises(ValueError, match="Not confirmed"):
        run(FakeRobot(), FakePolicy(), settings, ready=no)
    assert not (tmp_path / "run").exists()


def test_an_impatient_hand_costs_the_dataset_but_not_the_report(tmp_path, monkeypatch):
    def interrupted(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("vla.deploy.run.finalize", interrupted)
    clock, robot = SimulatedClock(), FakeRobot()
    robot.now = clock.now
    settings = DeploymentSettings("wave", 0.5, record=tmp_path / "run", keys=False)
    report = run(robot, FakePolicy(), settings, clock, SimulatedInference(FakePolicy(), clock))
    assert report.problems == ("No dataset was made of the recording: interrupted.",)
    assert (tmp_path / "run/report.json").is_file()


@pytest.mark.parametrize("waiting", [0, 2], ids=["at the end", "with a full queue"])
def test_a_disk_that_hangs_is_left_behind_and_named(tmp_path, monkeypatch, waiting):
    """The run has been driven: its report says so, whatever became of the recording."""
    monkeypatch.setattr("vla.deploy.recording.recorder.PATIENCE_S", 0.05)
    monkeypatch.setattr("vla.deploy.recording.recorder.QUEUE_S", 0.1)
    gate, event = threading.Event(), Recorder.event

    def write(recorder, entry):
        assert gate.wait(PATIENCE_S)

    def end(recorder, *told):
        recorder.flush()
        monkeypatch.setattr(Recorder, "_write", write)
        for _ in range(1 + waiting):
            event(recorder, *told)

    monkeypatch.setattr(Recorder, "event", end)
    report, robot, _ = drive(periods=5, record=tmp_path / "run")
    gate.set()
    assert report.ending == "time is up" and report.dataset is None
    assert "run hangs: its end was not written" in report.problems[0]
    assert robot.names()[-1] == "disconnect"
    for thread in threading.enumerate():
        if thread.name == "recorder":
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "it stays behind for good"


def test_a_recording_overwrites_nothing(tmp_path):
    (tmp_path / "kept").write_text("x")
    with pytest.raises(FileExistsError):
        drive(record=tmp_path)


def test_a_torn_last_line_is_left_out_and_a_damaged_one_is_an_error(tmp_path):
    journal = Journal(tmp_path / "steps.jsonl")
    for number in range(3):
        journal.write({"number": number})
    journal.close()
    whole = (tmp_path / "steps.jsonl").read_bytes()
    (tmp_path / "steps.jsonl").write_bytes(whole[:-4])
    assert [e["number"] for e in read_journal(tmp_path / "steps.jsonl")] == [0, 1]
    (tmp_path / "steps.jsonl").write_bytes(whole[5:])
    with pytest.raises(ValueError, match="line 1, is damaged"):
        read_journal(tmp_path / "steps.jsonl")


def test_rotations_and_robots_without_cameras_are_recorded_too(tmp_path):
    robot = RobotDescription("wall", WALL_26, 10.0, {})
    recorder = Recorder(tmp_path / "run", robot, {"instruction": "tidy up"}, waits=True)
    state = np.full(26, np.nan)
    known = slice(WALL_26.index("right_x"), WALL_26.index("right_gripper") + 1)
    state[known] = [0.1, 0.2, 0.3, 0, 1, 0, -1, 0, 0, 0.5]
    for number in range(5):
        observation = RobotObservation(number / 10, state.astype(np.float32), {})
        sent = np.nan_to_num(state) + 0.01 * number
        recorder.step(Step(number / 10, observation, None, sent, (), None))
    recorder.close()
    episode = RobotDataset.open(finalize(tmp_path / "run")).episodes[0]
    np.testing.assert_allclose(episode.proprio[3][known], state[known], atol=1e-6)
    assert not episode.proprio_mask[WALL_26.index("left_x")]
    assert episode.mask[WALL_26.index("base_vx")] and not episode.mask[WALL_26.index("left_x")]


def held_at_first(folder: Path, sent: list[float] | None) -> Path:
    """Five periods of a robot that knows no gripper of its own, held but for the last."""
    recorder = Recorder(folder, FakeRobot().description, {"instruction": "wave"}, waits=True)
    image = np.zeros((16, 24, 3), dtype=np.uint8)
    for number in range(5):
        seen = np.array([1.0, 2.0, 3.0, np.nan], dtype=np.float32)
        observation = RobotObservation(number / RATE, seen, {"front": image})
        command = np.array(sent) if sent is not None and number == 4 else None
        recorder.step(Step(number / RATE, observation, None, command, (), None))
    recorder.close()
    return folder


def test_what_held_a_channel_that_nobody_knows_is_not_invented(tmp_path):
    """A gripper that was closed for no reason would be learnt."""
    told = held_at_first(tmp_path / "told", [1.5, 2.5, 3.5, 0.75])
    episode = RobotDataset.open(finalize(told)).episodes[0]
    assert episode.actions[:, 3].tolist() == [0.75] * 5 and episode.mask.all()
    assert episode.actions[:, 0].tolist() == [1.0] * 4 + [1.5]
    untold = RobotDataset.open(finalize(held_at_first(tmp_path / "untold", None)))
    assert untold.episodes[0].mask.tolist() == [True, True, True, False]
    assert untold.reader.channel_names("action") == ARM.names[:3]


def test_a_robot_that_says_nothing_and_is_told_nothing_makes_no_dataset(tmp_path):
    robot = RobotDescription("arm", ARM, RATE, {})
    recorder = Recorder(tmp_path / "run", robot, {"instruction": "wave"}, waits=True)
    nowhere = RobotObservation(0.0, np.full(4, np.nan, dtype=np.float32), {})
    recorder.step(Step(0.0, nowhere, None, None, (), None))
    recorder.close()
    with pytest.raises(ValueError, match="was told nothing, and does not say where it stood"):
        finalize(tmp_path / "run")
    assert not (tmp_path / "run/dataset").exists()


def test_a_dataset_is_there_with_its_mapping_or_not_at_all(tmp_path, monkeypatch):
    """Killed as soon as it is in its place."""
    folder = held_at_first(tmp_path / "run", [1.5, 2.5, 3.5, 0.75])
    finish = Staging.finish

    def killed(staging: Staging) -> None:
        finish(staging)
        raise KeyboardInterrupt

    monkeypatch.setattr(Staging, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        finalize(folder)
    dataset = RobotDataset.open(finalize(folder))
    assert (dataset.embodiment, dataset.layout) == ("arm", ARM)


@pytest.mark.parametrize("speed", [0.2, 1.0])
def test_the_dataset_of_a_slow_run_says_so_wherever_it_is_opened(tmp_path, caplog, speed):
    report, _, _ = drive(periods=6, speed=speed, record=tmp_path / "run")
    assert recorded_speed(report.dataset) == speed
    for _ in range(2):
        RobotDataset.open(report.dataset)
    told = [r.getMessage() for r in caplog.records if r.name == "rvq_action.data.recorded_speed"]
    if speed == 1.0:
        assert not told
    else:
        (once,) = told
        assert str(report.dataset) in once and "at 0.2 of full speed" in once
        assert "--full_speed" in once and "leave it out" in once


def test_nothing_recorded_makes_no_dataset(tmp_path):
    robot = FakeRobot().description
    Recorder(tmp_path / "run", robot, {"instruction": "wave"}).close()
    with pytest.raises(ValueError, match="holds no whole period"):
        finalize(tmp_path / "run")
