"""`rvq-vla demos`: simulated demonstrations as a dataset."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from rvq_action.data.dataset import RobotDataset
from rvq_action.data.idle import IdleRule
from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.mapping import Mapping
from vla import cli
from vla.data import demo_workers, demos
from vla.data.demo_settings import DemoSettings

SETTINGS = DemoSettings(("reach-v3",), episodes=2, image_size=32, cameras=("corner3",))


@pytest.fixture(scope="module", autouse=True)
def one_simulator(simulator):
    """Frees this process's simulator in the end."""
    yield
    demo_workers._close_robots()


@pytest.fixture
def in_process(monkeypatch):
    """Record in this process; the list names what was recorded."""
    recorded = []

    def record_all(jobs, workers):
        for job in jobs:
            demo_workers.record(job)
            recorded.append(job.episode)
            yield job

    monkeypatch.setattr(demos, "record_all", record_all)
    return recorded


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """One task recorded by the command, by worker processes."""
    out = tmp_path_factory.mktemp("demos") / "data"
    command = "demos --tasks reach-v3 --episodes 2 --image_size 32 --cameras corner3 --workers 2"
    assert cli.main([*command.split(), "--out", str(out)]) == 0
    return out


def test_the_dataset_is_complete(dataset):
    reader = LeRobotReader(dataset)
    assert reader.num_episodes == 2 and reader.fps == 20
    for episode in range(2):
        length = reader.episode_length(episode)
        assert 20 < length < SETTINGS.max_steps
        frames = reader.frames(episode, "observation.images.corner3", [0.0, (length - 1) / 20])
        assert frames.shape == (2, 32, 32, 3) and frames.std() > 10
        assert tuple(reader.episode_tasks(episode)) == ("Move the gripper to the goal.",)
    assert not dataset.with_name("data.recording").exists()


def test_episodes_start_differently(dataset):
    reader = LeRobotReader(dataset)
    first, second = (reader.episode(i)["action"][:20] for i in range(2))
    assert np.abs(first - second).max() > 0.01


def test_the_mapping_gives_metres_per_second_and_an_open_gripper(dataset):
    reader = LeRobotReader(dataset)
    mapping = Mapping.from_yaml(dataset / demos.MAPPING_FILE)
    columns = reader.episode(0)
    actions = mapping.read_actions(columns, reader.channel_names)
    proprio = mapping.read_proprio(columns, reader.channel_names)
    assert actions.mask.all() and proprio.mask.all() and not mapping.layout.needs_anchor
    np.testing.assert_allclose(actions.values[:, :3], columns["action"][:, :3] * 0.2, atol=1e-6)
    np.testing.assert_allclose(actions.values[:, 3], 0.5)
    moved = np.diff(proprio.values[:, :3], axis=0)
    assert np.corrcoef(moved[5:].ravel(), actions.values[5:-1, :3].ravel())[0, 1] > 0.7
    back = mapping.write_actions(actions.values, reader.channel_names)
    np.testing.assert_allclose(back["action"], columns["action"], atol=1e-6)


def test_a_slower_second_makes_a_slower_hand(dataset, tmp_path, in_process):
    """`--fps` says how long a control step takes, and the mapping follows."""
    settings = replace(SETTINGS, fps=5)
    demos.record_demos(settings, tmp_path / "data", progress=False)
    slow, usual = RobotDataset.open(tmp_path / "data"), RobotDataset.open(dataset)
    assert {c.unit for c in slow.layout.channels} == {"m/s", "gripper"}
    actions = slow.episodes[0].actions, usual.episodes[0].actions
    np.testing.assert_allclose(4 * actions[0][:, :3], actions[1][:, :3], atol=1e-6)


def test_a_constant_command_is_no_rest(dataset):
    episodes = RobotDataset.open(dataset).episodes
    moving = replace(episodes[0], actions=np.full_like(episodes[0].actions, 0.1))
    rest = replace(episodes[0], actions=np.zeros_like(episodes[0].actions))
    idle = [starts.all() for starts in IdleRule().idle_starts([*episodes, moving, rest], 20)[-2:]]
    assert idle == [False, True]


def test_the_same_settings_reuse_the_dataset(dataset, capsys):
    before = (dataset / "meta" / "info.json").stat().st_mtime_ns
    report = demos.record_demos(SETTINGS, dataset, progress=False)
    assert report.reused and report.episodes == 2
    assert (dataset / "meta" / "info.json").stat().st_mtime_ns == before


def test_other_settings_do_not_overwrite_it(dataset, capsys):
    command = "demos --tasks reach-v3 --episodes 3 --image_size 32 --cameras corner3"
    assert cli.main([*command.split(), "--out", str(dataset)]) == 1
    assert "with other settings: episodes 2, not 3." in capsys.readouterr().err
    assert LeRobotReader(dataset).num_episodes == 2


def test_older_recordings_are_of_tasks_as_they_come(dataset, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(dataset, old)
    file = old / demos.SETTINGS_FILE
    told = json.loads(file.read_text())
    assert told["settings"].pop("look_alike") is False
    file.write_text(json.dumps(told))
    assert demos.record_demos(SETTINGS, old, progress=False).reused
    with pytest.raises(FileExistsError, match="look_alike False, not True"):
        demos.record_demos(replace(SETTINGS, look_alike=True), old, progress=False)


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("of somebody else")
    command = "demos --tasks reach-v3 --episodes 3"
    assert cli.main([*command.split(), "--out", str(tmp_path)]) == 1
    assert "is no set of demonstrations" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists()


def test_a_run_that_dies_leaves_no_dataset_and_is_resumed(
    dataset, tmp_path, in_process, monkeypatch
):
    out = tmp_path / "data"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demos.LeRobotWriter, "close", killed)
        with pytest.raises(KeyboardInterrupt):
            demos.record_demos(SETTINGS, out, progress=False)
    assert not out.exists() and in_process == [0, 1]

    (out.with_name("data.recording") / "episodes" / "reach-v3-00001.npz").unlink()
    demos.record_demos(SETTINGS, out, progress=False)
    assert in_process == [0, 1, 1]
    for episode in range(2):
        here, there = (LeRobotReader(d).episode(episode)["action"] for d in (out, dataset))
        np.testing.assert_array_equal(here, there)


def test_leftovers_of_other_settings_are_discarded(tmp_path, in_process):
    staging = tmp_path / "data.recording"
    (staging / "episodes").mkdir(parents=True)
    (staging / "settings.json").write_text(json.dumps({"settings": "others"}))
    (staging / "episodes" / "reach-v3-00000.npz").write_bytes(b"of another seed")
    report = demos.record_demos(SETTINGS, tmp_path / "data", progress=False)
    assert in_process == [0, 1] and report.episodes == 2


def test_a_folder_that_is_no_recording_is_left_alone(tmp_path, in_process):
    stranger = tmp_path / "data.recording" / "thesis.txt"
    stranger.parent.mkdir()
    stranger.write_text("of somebody else")
    with pytest.raises(FileExistsError, match="no unfinished recording"):
        demos.record_demos(SETTINGS, tmp_path / "data", progress=False)
    assert stranger.exists() and not in_process


def test_an_expert_that_always_fails_is_an_error(tmp_path, in_process):
    settings = DemoSettings(("reach-v3",), 1, image_size=32, cameras=("corner3",), max_steps=2)
    with pytest.raises(ValueError, match="expert of reach-v3 failed 20 times"):
        demos.record_demos(settings, tmp_path / "data", progress=False)
    assert not (tmp_path / "data").exists()
