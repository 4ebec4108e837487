import gc
import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rvq_action.data import writer_staging
from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.writer import LeRobotWriter

av = pytest.importorskip("av")

FPS, SIZE, CAMERA = 15, (48, 64), "observation.images.front"
FEATURES = {"action": ["x", "y"], "observation.state": ["x", "y", "z"]}


def frames(count, start=0):
    """A gradient whose blue channel tells the frame and whose bright bar moves with it."""
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    for t in range(start, start + count):
        blue = np.full(SIZE, 40 + 3 * t)
        yield np.stack([ys * 4, xs * 3, blue], -1).clip(0, 255).astype(np.uint8)


def columns(count, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(count, len(names))) for name, names in FEATURES.items()}


def open_writer(path, **options):
    return LeRobotWriter(path, FPS, FEATURES, "arm", {CAMERA: SIZE}, **options)


def write(path, lengths=(20, 12, 25), **options):
    with open_writer(path, **options) as writer:
        for i, n in enumerate(lengths):
            writer.add_episode(columns(n, i), {CAMERA: frames(n)}, task=f"task {i % 2}")
    return path


def info(path):
    return json.loads((path / "meta/info.json").read_text())


def decode(path):
    with av.open(str(path)) as container:
        return [(float(f.time), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def test_numbers_round_trip_with_indices_and_timestamps(tmp_path):
    root = write(tmp_path / "set")
    table = pq.read_table(root / "data/chunk-000/file-000.parquet")
    expected = np.concatenate([columns(n, i)["action"] for i, n in enumerate((20, 12, 25))])
    np.testing.assert_array_equal(np.stack(table["action"].to_numpy()), expected.astype(np.float32))
    assert table["index"].to_pylist() == list(range(57))
    assert table["task_index"].to_pylist() == [0] * 20 + [1] * 12 + [0] * 25
    np.testing.assert_allclose(table["timestamp"].to_numpy()[20:32], np.arange(12) / FPS, atol=1e-6)
    rows = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(r["dataset_from_index"], r["dataset_to_index"]) for r in rows] == [
        (0, 20),
        (20, 32),
        (32, 57),
    ]
    assert [r["tasks"] for r in rows] == [["task 0"], ["task 1"], ["task 0"]]


def test_video_frames_lie_at_their_timestamps_and_look_right(tmp_path):
    root = write(tmp_path / "set")
    shown = decode(root / f"videos/{CAMERA}/chunk-000/file-000.mp4")
    times = np.array([time for time, _ in shown])
    np.testing.assert_allclose(times, np.arange(57) / FPS, atol=1e-4)
    original = [frame for n in (20, 12, 25) for frame in frames(n)]
    errors = np.stack([image for _, image in shown]).astype(float) - np.stack(original)
    psnr = 10 * np.log10(255**2 / (errors**2).mean((1, 2, 3)))
    assert psnr.min() > 35
    rows = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    starts = [row[f"videos/{CAMERA}/from_timestamp"] for row in rows]
    np.testing.assert_allclose(starts, [0, 20 / FPS, 32 / FPS])


def test_the_reader_gives_back_what_was_written(tmp_path):
    reader = LeRobotReader(write(tmp_path / "set", data_file_mb=0))
    assert (reader.fps, reader.robot_type, reader.camera_keys) == (FPS, "arm", (CAMERA,))
    assert reader.channel_names("observation.state") == ("x", "y", "z")
    for index, length in enumerate((20, 12, 25)):
        episode = reader.episode(index)
        for name, values in columns(length, index).items():
            np.testing.assert_array_equal(episode[name], values.astype(np.float32))
        assert reader.episode_tasks(index) == (f"task {index % 2}",)
        seen = reader.frames(index, CAMERA, episode["timestamp"], tolerance_s=1e-3)
        errors = seen.astype(float) - np.stack(list(frames(length)))
        assert 10 * np.log10(255**2 / (errors**2).mean()) > 38
        with pytest.raises(ValueError, match="no frame within"):
            reader.frames(index, CAMERA, [0.5 / FPS], tolerance_s=1e-3)


def test_statistics_are_exact_and_cameras_lie_in_zero_to_one(tmp_path):
    root = write(tmp_path / "set")
    stats = json.loads((root / "meta/stats.json").read_text())
    state = np.concatenate([columns(n, i)["observation.state"] for i, n in enumerate((20, 12, 25))])
    np.testing.assert_allclose(stats["observation.state"]["mean"], state.mean(0), atol=1e-6)
    np.testing.assert_allclose(
        stats["observation.state"]["q99"], np.quantile(state, 0.99, axis=0), atol=1e-5
    )
    pictures = np.concatenate([np.stack(list(frames(n))) for n in (20, 12, 25)]) / 255
    camera = {name: np.squeeze(value) for name, value in stats[CAMERA].items()}
    np.testing.assert_allclose(camera["mean"], pictures.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(camera["std"], pictures.std((0, 1, 2)), atol=1e-6)
    assert camera["q01"].min() >= 0 and camera["q99"].max() <= 1


def test_shards_stay_within_their_size_and_episodes_stay_whole(tmp_path):
    wide = {"action": [f"c{i}" for i in range(100)]}
    with LeRobotWriter(tmp_path / "set", FPS, wide, "arm", data_file_mb=1) as writer:
        for i in range(4):
            writer.add_episode({"action": np.full((1200, 100), i)}, task="go")
    files = sorted((tmp_path / "set/data/chunk-000").iterdir())
    assert [pq.read_metadata(f).num_rows for f in files] == [2400, 2400]
    rows = pq.read_table(tmp_path / "set/meta/episodes/chunk-000/file-001.parquet").to_pylist()
    assert [(r["episode_index"], r["data/file_index"]) for r in rows] == [(2, 1), (3, 1)]
    assert rows[0]["dataset_from_index"] == 2400


def test_append_continues_every_count_and_keeps_the_old_files(tmp_path):
    root = write(tmp_path / "set")
    old = (root / "data/chunk-000/file-000.parquet").read_bytes()
    with open_writer(root, append=True) as writer:
        assert writer.num_episodes == 3
        writer.add_episode(columns(10), {CAMERA: frames(10)}, task="task 2")
    assert (root / "data/chunk-000/file-000.parquet").read_bytes() == old
    assert (info(root)["total_episodes"], info(root)["total_frames"]) == (4, 67)
    table = pq.read_table(root / "data/chunk-000/file-001.parquet")
    assert table["index"].to_pylist() == list(range(57, 67))
    assert table["task_index"].to_pylist() == [2] * 10
    stats = json.loads((root / "meta/stats.json").read_text())
    assert stats["action"]["count"] == [67]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_a_file_of_ones_own_comes_with_the_dataset_and_outlives_an_append(tmp_path):
    path = tmp_path / "set"
    with open_writer(path) as writer:
        writer.add_file("meta/own/note.txt", "by hand")
        writer.add_episode(columns(5), {CAMERA: frames(5)}, task="push")
        assert not path.exists()
    write(path, (4,), append=True)
    assert (path / "meta/own/note.txt").read_text() == "by hand"
    with pytest.raises(ValueError, match="is closed"):
        writer.add_file("meta/late.txt", "")


def test_append_refuses_other_features(tmp_path):
    root = write(tmp_path / "set")
    with pytest.raises(ValueError, match="Cannot append.*fps"):
        LeRobotWriter(root, 30, FEATURES, "arm", {CAMERA: SIZE}, append=True)
    with pytest.raises(FileExistsError, match="append=True"):
        open_writer(root)


def test_an_exception_leaves_nothing_or_the_old_dataset(tmp_path):
    with pytest.raises(RuntimeError), open_writer(tmp_path / "set") as writer:
        writer.add_episode(columns(5), {CAMERA: frames(5)}, task="go")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    root = write(tmp_path / "set")
    with pytest.raises(RuntimeError), open_writer(root, append=True) as writer:
        writer.add_episode(columns(5), {CAMERA: frames(5)}, task="go")
        raise RuntimeError
    assert info(root)["total_episodes"] == 3


KILLED = """
import os, signal, sys
import numpy as np
from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.writer import LeRobotWriter
writer = LeRobotWriter(sys.argv[1], 15, {"action": ["x"]}, "arm", data_file_mb=0, append=True)
for i in range(3):
    writer.add_episode({"action": np.zeros(9)}, task="go")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_never_looks_complete(tmp_path, caplog):
    path = tmp_path / "set"
    command = [sys.executable, "-c", KILLED, str(path)]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.getcwd()}, check=False)
    assert run.returncode == -signal.SIGKILL
    assert not path.exists()
    with LeRobotWriter(path, 15, {"action": ["x"]}, "arm") as writer:
        writer.add_episode({"action": np.zeros(4)}, task="go")
    assert "Discarding" in caplog.text
    assert info(path)["total_episodes"] == 1
    left_open = LeRobotWriter(path, 15, {"action": ["x"]}, "arm", append=True, data_file_mb=0)
    for _ in range(3):
        left_open.add_episode({"action": np.zeros(4)}, task="go")
    assert info(path)["total_episodes"] == 1
    assert LeRobotReader(path).num_episodes == 1


def test_a_second_writer_is_refused_and_harms_nobody(tmp_path):
    options = {"data_file_mb": 0}
    first = open_writer(tmp_path / "set", **options)
    for i in range(2):
        first.add_episode(columns(5, i), {CAMERA: frames(5)}, task="go")
    for append in (False, True):
        with pytest.raises(FileExistsError, match="Another writer is at .*another path"):
            open_writer(tmp_path / "set", append=append, **options)
    root = first.close()
    assert LeRobotReader(root).num_episodes == 2
    assert sorted(p.name for p in root.iterdir()) == ["data", "meta", "videos"]

    adding = open_writer(root, append=True)
    with pytest.raises(FileExistsError, match="Another writer"):
        open_writer(root, append=True)
    adding.discard()
    assert LeRobotReader(write(root, (7,), append=True)).num_episodes == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_a_second_writer_is_refused_at_every_step_of_the_swap(tmp_path, monkeypatch):
    root = write(tmp_path / "set")
    first = open_writer(root, append=True)
    first.add_episode(columns(5), {CAMERA: frames(5)}, task="go")
    rename, refused = Path.rename, []

    def watched(self, target):
        for step in (lambda: None, lambda: rename(self, target)):
            step()
            with pytest.raises(FileExistsError, match="Another writer"):
                open_writer(root, append=True)
            refused.append(self.name)

    monkeypatch.setattr(Path, "rename", watched)
    first.close()
    assert refused == ["set", "set", "set.partial", "set.partial"]
    assert LeRobotReader(root).num_episodes == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_what_was_added_until_the_lock_is_taken_is_counted(tmp_path, monkeypatch):
    """The first writer finishes just before the second one takes the lock."""
    root = write(tmp_path / "set")
    first = open_writer(root, append=True)
    first.add_episode(columns(5), {CAMERA: frames(5)}, task="go")
    begin = writer_staging.Staging.__init__

    def late(self, path, append):
        first.close()
        begin(self, path, append)

    monkeypatch.setattr(writer_staging.Staging, "__init__", late)
    with open_writer(root, append=True) as second:
        assert second.num_episodes == 4
        second.add_episode(columns(6), {CAMERA: frames(6)}, task="go")
    reader = LeRobotReader(root)
    assert [reader.episode_length(i) for i in range(reader.num_episodes)] == [20, 12, 25, 5, 6]


def test_a_writer_that_is_refused_leaves_nothing_behind(tmp_path):
    root = write(tmp_path / "set")
    with pytest.raises(FileExistsError, match="append=True"):
        open_writer(root)
    with pytest.raises(ValueError, match="fps"):
        LeRobotWriter(root, FPS + 1, FEATURES, "arm", {CAMERA: SIZE}, append=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]
    assert LeRobotReader(write(root, (7,), append=True)).num_episodes == 4


def test_a_writer_that_was_forgotten_stands_in_nobodys_way(tmp_path):
    open_writer(tmp_path / "set").add_episode(columns(5), {CAMERA: frames(5)}, task="go")
    gc.collect()
    assert LeRobotReader(write(tmp_path / "set", (7,))).num_episodes == 1


def test_an_interrupted_swap_is_repaired(tmp_path):
    root = write(tmp_path / "set")
    root.rename(tmp_path / "set.previous")
    with open_writer(root, append=True) as writer:
        writer.add_episode(columns(5), {CAMERA: frames(5)}, task="go")
    assert info(root)["total_episodes"] == 4


def bad(**changes):
    return {**columns(6), **changes}


@pytest.mark.parametrize(
    ("features", "pictures", "message"),
    [
        (bad(action=np.zeros((6, 3))), frames(6), r"'action' has shape \(6, 3\)"),
        (bad(action=np.full((6, 2), np.nan)), frames(6), "'action' is nan at frame 0, channel 0"),
        (bad(action=np.zeros((7, 2))), frames(6), "same number of frames"),
        (bad(reward=np.zeros(6)), frames(6), "unknown ones .'reward'"),
        (bad(), frames(5), "gave 5 frames, the features have 6"),
        (bad(), (f[:, :32] for f in frames(6)), "frame 0 is uint8"),
        (bad(), (f / 255 for f in frames(6)), "expected uint8"),
    ],
)
def test_a_bad_episode_is_refused_and_the_next_one_goes_in(tmp_path, features, pictures, message):
    with open_writer(tmp_path / "set") as writer:
        with pytest.raises(ValueError, match=message):
            writer.add_episode(features, {CAMERA: pictures}, task="bad")
        writer.add_episode(columns(8), {CAMERA: frames(8)}, task="good")
    assert info(tmp_path / "set")["total_episodes"] == 1
    tasks = pq.read_table(tmp_path / "set/meta/tasks.parquet")
    assert tasks["__index_level_0__"].to_pylist() == ["good"]
    assert len(decode(tmp_path / f"set/videos/{CAMERA}/chunk-000/file-000.mp4")) == 8


def test_bad_descriptions_are_refused(tmp_path):
    with pytest.raises(ValueError, match="even"):
        LeRobotWriter(tmp_path / "a", 15, FEATURES, "arm", {CAMERA: (47, 64)})
    with pytest.raises(ValueError, match="3 channels but 2 names"):
        spec = {"dtype": "float32", "shape": [3], "names": ["a", "b"]}
        LeRobotWriter(tmp_path / "a", 15, {"action": spec}, "arm")
    with pytest.raises(ValueError, match="by the writer itself"):
        LeRobotWriter(tmp_path / "a", 15, {"timestamp": ["t"]}, "arm")
    with pytest.raises(ValueError, match="No episode"), open_writer(tmp_path / "a"):
        pass
    assert not list(tmp_path.iterdir())


def test_layout_equals_a_dataset_lerobot_wrote(tmp_path, shared_data):
    """Same keys, columns and column types as a dataset from LeRobot itself."""
    theirs, ours = shared_data / "g1_bottle", write(tmp_path / "set")
    assert list(info(theirs)) == list(info(ours))
    camera = {**info(theirs)["features"]["observation.images.head"], "shape": [*SIZE, 3]}
    camera["info"] |= {"video.height": SIZE[0], "video.width": SIZE[1], "video.fps": FPS}
    assert info(ours)["features"][CAMERA] == camera
    name = "meta/episodes/chunk-000/file-000.parquet"
    renamed = [
        (f.name.replace("observation.images.head", CAMERA), str(f.type))
        for f in pq.read_schema(theirs / name)
    ]
    assert set(renamed) == {(f.name, str(f.type)) for f in pq.read_schema(ours / name)}
    data = "data/chunk-000/file-000.parquet"
    kinds = [{f.name: str(f.type) for f in pq.read_schema(r / data)} for r in (theirs, ours)]
    assert list(kinds[0]) != [] and set(kinds[0]) == set(kinds[1])
    assert all(kinds[0][n] == kinds[1][n] for n in ("timestamp", "index", "task_index"))


def test_frame_rates_need_not_be_whole(tmp_path):
    with LeRobotWriter(tmp_path / "set", 12.5, {"action": ["x"]}, "a", {CAMERA: SIZE}) as writer:
        for _ in range(2):
            writer.add_episode({"action": np.zeros(9)}, {CAMERA: frames(9)}, task="go")
    times = [t for t, _ in decode(tmp_path / f"set/videos/{CAMERA}/chunk-000/file-000.mp4")]
    assert all(abs(b - a - 0.08) < 1e-3 for a, b in pairwise(times))
