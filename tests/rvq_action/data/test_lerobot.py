"""Reading LeRobotDatasets of both versions, and what is said about broken ones."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rvq_action.data.lerobot import LeRobotReader
from tests.synthetic import (
    CAMERA,
    FPS,
    columns,
    frame_of,
    picture,
    write_v3,
    write_v21,
    write_video,
)

LENGTHS = (30, 24, 35)


@pytest.fixture(params=[write_v3, write_v21], ids=["v3.0", "v2.1"])
def dataset(request, tmp_path) -> Path:
    return request.param(tmp_path / "set", LENGTHS)


def edit_info(path: Path, **changes) -> None:
    file = path / "meta/info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def truncate(file: Path, share: float = 0.5) -> Path:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    return file


def test_both_versions_read_alike(dataset):
    reader = LeRobotReader(dataset)
    assert (reader.fps, reader.robot_type, reader.num_episodes) == (FPS, "test_arm", 3)
    assert (reader.camera_keys, reader.tasks) == ((CAMERA,), {0: "go", 1: "stop"})
    assert [reader.episode_tasks(i) for i in range(3)] == [("go",), ("stop",), ("go",)]
    assert [reader.episode_length(i) for i in range(3)] == list(LENGTHS)
    assert reader.channel_names("action") == ("x", "y", "gripper")
    for index, length in enumerate(LENGTHS):
        episode = reader.episode(index)
        np.testing.assert_array_equal(episode["action"], columns(length, index)["action"])
        np.testing.assert_allclose(episode["timestamp"], np.arange(length) / FPS, atol=1e-6)


def test_statistics_of_both_versions_agree_with_the_data(dataset):
    reader = LeRobotReader(dataset)
    actions = np.concatenate([reader.episode(i)["action"] for i in range(3)]).astype(np.float64)
    stored = reader.statistics["action"]
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(stored[name], getattr(actions, name)(0), rtol=1e-5)
    assert stored["count"].tolist() == [sum(LENGTHS)]


def test_frames_come_by_timestamp_in_the_order_asked(dataset):
    reader = LeRobotReader(dataset)
    for index, length in enumerate(LENGTHS):
        frames = reader.frames(index, CAMERA, reader.episode(index)["timestamp"])
        assert [frame_of(f) for f in frames] == list(range(length))
    some = reader.frames(2, CAMERA, [3.1, 0.0, 2.5, 2.5, 0.1])
    assert [frame_of(f) for f in some] == [31, 0, 25, 25, 1]
    assert some.dtype == np.uint8 and some.shape[-1] == 3


def test_frames_are_streamed_from_one_pass_over_the_video(dataset, monkeypatch):
    reader, opened, real = LeRobotReader(dataset), [], av.open
    times = reader.episode(2)["timestamp"][::3]
    monkeypatch.setattr(av, "open", lambda *args: opened.append(args) or real(*args))
    streamed = list(reader.stream_frames(2, CAMERA, times))
    assert len(opened) == 1
    assert np.array_equal(np.stack(streamed), reader.frames(2, CAMERA, times))


def test_a_time_without_a_frame_is_an_error_beyond_the_tolerance(dataset):
    reader = LeRobotReader(dataset)
    assert frame_of(reader.frames(0, CAMERA, [0.509])[0]) == 5
    with pytest.raises(ValueError, match=r"\.mp4 has no frame within 0\.01 s of .* \(nearest"):
        reader.frames(0, CAMERA, [0.53])
    assert frame_of(reader.frames(0, CAMERA, [0.53], tolerance_s=0.04)[0]) == 5
    with pytest.raises(ValueError, match="truncated or out of step"):
        reader.frames(2, CAMERA, [99.0])


def test_unknown_cameras_features_and_episodes_are_named(dataset):
    reader = LeRobotReader(dataset)
    with pytest.raises(KeyError, match="no camera 'wrist'"):
        reader.frames(0, "wrist", [0.0])
    with pytest.raises(KeyError, match="no feature 'force'"):
        reader.channel_names("force")
    with pytest.raises(IndexError, match=r"episodes 0\.\.2, not 3"):
        reader.episode(3)


def test_a_truncated_parquet_is_named(dataset):
    file = truncate(sorted((dataset / "data").rglob("*.parquet"))[0])
    with pytest.raises(ValueError, match=rf"{file.name} is no readable parquet.*again"):
        LeRobotReader(dataset).episode(0)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_truncated_video_is_named(dataset, share):
    file = truncate(sorted(dataset.rglob("*.mp4"))[0], share)
    with pytest.raises(ValueError, match=rf"{file.name} .*truncated"):
        LeRobotReader(dataset).frames(0, CAMERA, np.arange(LENGTHS[0]) / FPS)


def test_a_video_truncated_behind_its_index_is_named_too(tmp_path):
    dataset = write_v21(tmp_path / "set", LENGTHS)
    file = sorted(dataset.rglob("*.mp4"))[0]
    write_video(file, LENGTHS[0], movflags="faststart")
    reader = LeRobotReader(dataset)
    assert frame_of(reader.frames(0, CAMERA, [2.9])[0]) == 29
    truncate(file, 0.9)
    with pytest.raises(ValueError, match=rf"{file.name} .*truncated"):
        reader.frames(0, CAMERA, [2.9])


def test_a_folder_of_datasets_names_them(tmp_path):
    names = [write_v3(tmp_path / f"set_{i}", (9,)).name for i in range(9)]
    match = "a folder with some: .* and 1 more. Give"
    with pytest.raises(FileNotFoundError, match=match) as raised:
        LeRobotReader(tmp_path)
    assert [name in str(raised.value) for name in names] == [True] * 8 + [False]


def test_missing_files_are_named(dataset, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is no LeRobotDataset: it has no meta/info\.json"):
        LeRobotReader(dataset / "data")
    for pattern in ("data/**/*.parquet", "videos/**/*.mp4"):
        sorted(dataset.glob(pattern))[0].unlink()
    reader = LeRobotReader(dataset)
    with pytest.raises(FileNotFoundError, match=r"\.parquet is missing"):
        reader.episode(0)
    with pytest.raises(FileNotFoundError, match=r"\.mp4 is missing"):
        reader.frames(0, CAMERA, [0.0])


def test_an_empty_dataset_is_refused(dataset):
    edit_info(dataset, total_episodes=0)
    with pytest.raises(ValueError, match="set has no episodes"):
        LeRobotReader(dataset)


def test_a_table_of_episodes_that_is_cut_short_is_refused(dataset):
    edit_info(dataset, total_episodes=4)
    with pytest.raises(ValueError, match="states 4 episodes, but .* lists 3"):
        LeRobotReader(dataset)


def test_foreign_versions_and_incomplete_or_broken_info_are_refused(dataset):
    edit_info(dataset, codebase_version="v1.6")
    with pytest.raises(ValueError, match="codebase_version 'v1.6' is not supported"):
        LeRobotReader(dataset)
    edit_info(dataset, codebase_version="v3.0", fps=0)
    with pytest.raises(ValueError, match="fps must be positive"):
        LeRobotReader(dataset)
    (dataset / "meta/info.json").write_text('{"fps": 10}')
    with pytest.raises(ValueError, match=r"lacks \['codebase_version', 'features'"):
        LeRobotReader(dataset)
    truncate(dataset / "meta/info.json")
    with pytest.raises(ValueError, match=r"info\.json is no valid JSON"):
        LeRobotReader(dataset)


def test_a_column_or_a_shape_that_does_not_fit_info_is_named(dataset):
    features = LeRobotReader(dataset).features
    force = {"dtype": "float32", "shape": [2], "names": None}
    edit_info(dataset, features=features | {"force": force})
    with pytest.raises(ValueError, match=r"has no column \['force'\]"):
        LeRobotReader(dataset).episode(0)
    edit_info(dataset, features=features | {"action": force})
    with pytest.raises(ValueError, match=r"action holds .* states the shape \(2,\)"):
        LeRobotReader(dataset).episode(0)


def test_rows_missing_from_the_data_are_counted(dataset):
    file = sorted((dataset / "data").rglob("*.parquet"))[0]
    table = pq.read_table(file)
    pq.write_table(pa.concat_tables([table.slice(0, 10), table.slice(12)]), file)
    with pytest.raises(ValueError, match="episode 0 has 28 rows, .* states 30"):
        LeRobotReader(dataset).episode(0)


def as_png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=FPS)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def test_cameras_stored_as_single_images_read_like_videos(tmp_path):
    path = write_v21(tmp_path / "set", (12,))
    features = LeRobotReader(path).features
    edit_info(path, features=features | {CAMERA: features[CAMERA] | {"dtype": "image"}})
    file = next(path.rglob("*.parquet"))
    images = [{"bytes": as_png(picture(i)), "path": None} for i in range(12)]
    pq.write_table(pq.read_table(file).append_column(CAMERA, [images]), file)
    reader = LeRobotReader(path)
    assert [frame_of(f) for f in reader.frames(0, CAMERA, [0.7, 0.0])] == [7, 0]
    with pytest.raises(ValueError, match=r"no image of .* within 0\.01 s of 5\.0000 s"):
        reader.frames(0, CAMERA, [5.0])


EXPECTED = {
    "so101_pick_tape": (40, 11_962, 30, 0),
    "g1_bottle": (45, 15_974, 30, 1),
    "cr5_banana": (60, 13_421, 10, 1),
    "droid_franka": (8, 1_939, 15, 3),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_real_recordings(shared_data, name):
    reader = LeRobotReader(shared_data / name)
    episodes = [reader.episode(i) for i in range(reader.num_episodes)]
    frames, cameras = sum(len(e["action"]) for e in episodes), len(reader.camera_keys)
    assert (len(episodes), frames, reader.fps, cameras) == EXPECTED[name]
    last = episodes[-1]["timestamp"]
    for camera in reader.camera_keys:
        images = reader.frames(reader.num_episodes - 1, camera, last[[0, 5, -1]])
        assert images.shape == (3, 224, 224, 3) and images.std() > 10


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b", "c"], ("a", "b", "c")),
        ({"motors": ["a", "b", "c"]}, ("a", "b", "c")),
        ({"arm": ["a", "b"], "hand": ["c"]}, ("a", "b", "c")),
        (None, ("action_0", "action_1", "action_2")),
        ({"delta_y": 1, "gripper": 2, "delta_x": 0}, ("delta_x", "delta_y", "gripper")),
        ({"arm": {"b": 1, "a": 0}, "hand": "c"}, ("a", "b", "c")),
        ([7, 8, 9], ("7", "8", "9")),
        ({"motors": [1, 2.5, "c"]}, ("1", "2.5", "c")),
        (7, ("action_0", "action_1", "action_2")),
        (["channels"], ("action_0", "action_1", "action_2")),
    ],
)
def test_channel_names_in_every_form_lerobot_writes(tmp_path, names, expected):
    path = write_v21(tmp_path / "set", (12,))
    features = LeRobotReader(path).features
    edit_info(path, features=features | {"action": features["action"] | {"names": names}})
    assert LeRobotReader(path).channel_names("action") == expected
