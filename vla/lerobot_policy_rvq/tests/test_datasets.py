"""What one of the two libraries wrote, the other reads: values, frames, statistics and tasks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.stored_statistics import load_statistics
from tests.synthetic import CAMERA, FEATURES, FPS, columns, frame_of, picture, write_v21
from vla.lerobot_policy_rvq.tests.versions import H264, convert

INDICES = ("index", "episode_index", "frame_index", "task_index", "timestamp")


def numbers(reader: LeRobotReader) -> list[str]:
    return [name for name in reader.features if name not in (*reader.camera_keys, *INDICES)]


def check_values(ours: LeRobotReader, theirs: LeRobotDataset) -> None:
    """Every number of every frame."""
    rows = theirs.hf_dataset.with_format("numpy")[:]
    assert ours.num_episodes == theirs.num_episodes and ours.fps == theirs.fps
    for name in numbers(ours):
        if ours.features[name]["dtype"] == "string":
            continue
        read = np.concatenate(
            [ours.episode(i)[name].reshape(r.length, -1) for i, r in enumerate(ours.records)]
        )
        given = np.stack(list(rows[name])).reshape(len(read), -1)
        np.testing.assert_array_equal(read, given.astype(read.dtype), err_msg=name)


def check_tasks(ours: LeRobotReader, theirs: LeRobotDataset, frames: Iterable[int]) -> None:
    bounds = np.cumsum([record.length for record in ours.records])
    for frame in frames:
        episode = int(np.searchsorted(bounds, frame, side="right"))
        assert theirs[frame]["task"] in ours.episode_tasks(episode)


def check_frames(ours: LeRobotReader, theirs: LeRobotDataset, frames: Iterable[int]) -> None:
    """Pictures: two decoders turn the same YUV into RGB, which may round differently."""
    lengths = [record.length for record in ours.records]
    bounds = np.cumsum(lengths)
    for frame in frames:
        episode = int(np.searchsorted(bounds, frame, side="right"))
        place = frame - int(bounds[episode] - lengths[episode])
        time = ours.episode(episode)["timestamp"].reshape(-1)[place : place + 1]
        row = theirs[frame]
        for key in ours.camera_keys:
            mine = ours.frames(episode, key, time)[0].astype(int)
            given = np.asarray(row[key] * 255).round().astype(int).transpose(1, 2, 0)
            assert abs(mine - given).max() <= 4 and abs(mine - given).mean() < 1, (key, frame)


def check_statistics(ours: LeRobotReader, theirs: LeRobotDataset) -> None:
    read = load_statistics(ours.path)
    for name in numbers(ours):
        given = theirs.meta.stats[name]
        assert {"min", "max", "mean", "std"} <= read[name].keys() == given.keys()
        for kind, values in read[name].items():
            np.testing.assert_array_equal(values, given[kind], err_msg=f"{name}: {kind}")


def check(path: Path, frames: Iterable[int]) -> None:
    ours, theirs = LeRobotReader(path), LeRobotDataset("local/set", root=path)
    check_values(ours, theirs)
    check_tasks(ours, theirs, frames)
    check_frames(ours, theirs, frames)
    check_statistics(ours, theirs)


def test_what_we_write_lerobot_reads(small_set):
    check(small_set, range(0, 89, 7))
    theirs = LeRobotDataset("local/small", root=small_set)
    lengths, first = (30, 24, 35), 0
    for episode, length in enumerate(lengths):
        wanted = columns(length, episode)
        for frame in (0, length - 1):
            row = theirs[first + frame]
            for name in FEATURES:
                np.testing.assert_array_equal(row[name].numpy(), wanted[name][frame])
            shown = (row[CAMERA] * 255).round().numpy().transpose(1, 2, 0)
            assert frame_of(shown) == frame % 40
            assert row["task"] == ("go", "stop")[episode % 2]
        first += length


def test_the_statistics_that_we_write_are_those_of_the_numbers(small_set):
    theirs = LeRobotDataset("local/small", root=small_set)
    action = np.concatenate([columns(n, i)["action"] for i, n in enumerate((30, 24, 35))])
    found = theirs.meta.stats["action"]
    for kind, value in (("min", action.min(0)), ("max", action.max(0)), ("mean", action.mean(0))):
        np.testing.assert_allclose(found[kind], value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["std"], action.std(0), rtol=1e-4)


def test_what_lerobot_writes_we_read(tmp_path):
    numeric = {
        name: {"dtype": "float32", "shape": (3,), "names": names}
        for name, names in FEATURES.items()
    }
    camera = {
        CAMERA: {"dtype": "video", "shape": (64, 96, 3), "names": ["height", "width", "channels"]}
    }
    root = tmp_path / "theirs"
    theirs = LeRobotDataset.create(
        "local/theirs", FPS, {**numeric, **camera}, root=root, robot_type="test_arm", **H264
    )
    for episode, length in enumerate((12, 20)):
        for frame in range(length):
            row = {name: values[frame] for name, values in columns(length, episode).items()}
            image = np.kron(picture(frame), np.ones((2, 2, 1), dtype=np.uint8))
            theirs.add_frame({**row, CAMERA: image, "task": f"task {episode}"})
        theirs.save_episode()
    theirs.finalize()
    check(root, (0, 5, 11, 12, 31))
    ours = LeRobotReader(root)
    assert [list(ours.episode_tasks(i)) for i in range(2)] == [["task 0"], ["task 1"]]
    np.testing.assert_array_equal(ours.episode(1)["action"], columns(20, 1)["action"])
    assert np.isfinite(load_statistics(root)["action"]["mean"]).all()


def test_v21_opens_in_both_with_equal_values(tmp_path):
    """LeRobot reads v2.1 once it has been converted; ours reads both."""
    old = write_v21(tmp_path / "old")
    info = json.loads((old / "meta/info.json").read_text())
    counts = {"total_frames": 89, "total_tasks": 2, "total_chunks": 2, "total_videos": 3}
    (old / "meta/info.json").write_text(json.dumps(info | counts))
    new = converted(old, tmp_path)
    before, after = LeRobotReader(old), LeRobotReader(new)
    for episode in range(3):
        for name in FEATURES:
            ours, theirs = (r.episode(episode)[name] for r in (before, after))
            np.testing.assert_array_equal(ours, theirs)
    check_values(before, LeRobotDataset("local/set", root=new))
    check_values(after, LeRobotDataset("local/set", root=new))


def converted(path: Path, folder: Path) -> Path:
    """A v2.1 dataset as LeRobot's own converter writes it anew."""
    copy = folder / "local" / path.name
    shutil.copytree(path, copy)
    for file in copy.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    copy.chmod(0o755)
    convert(copy)
    return copy


@pytest.mark.parametrize("name", ["so101_pick_tape", "g1_bottle", "droid_franka"])
def test_recordings_of_real_robots_have_lerobots_values(shared_data, name):
    ours = LeRobotReader(shared_data / name)
    theirs = LeRobotDataset("local/set", root=shared_data / name)
    check_values(ours, theirs)
    check_statistics(ours, theirs)
    if name != "so101_pick_tape":
        check_frames(ours, theirs, (0, 100, theirs.num_frames - 1))
        check_tasks(ours, theirs, (0, 100, theirs.num_frames - 1))


def test_a_v21_recording_of_a_real_robot_has_lerobots_values(shared_data, tmp_path):
    old = shared_data / "cr5_banana"
    new = converted(old, tmp_path)
    check_values(LeRobotReader(old), LeRobotDataset("local/set", root=new))
