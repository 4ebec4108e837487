"""Each fault is found, by the row that should find it, and nothing else is called a failure."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from rvq_action.cli import main
from rvq_action.data.check import Status, check_dataset
from rvq_action.data.split import episodes_to_train
from tests import synthetic

pytestmark = pytest.mark.filterwarnings("ignore:.*no mapping fits.*")
DATA = "data/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.front/chunk-000/file-000.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def rows(path, **options):
    return {finding.name: finding for finding in check_dataset(path, **options)}


def failures(found):
    return [name for name, finding in found.items() if finding.status is Status.FAIL]


def warnings(found):
    return [name for name, finding in found.items() if finding.status is Status.WARN]


def rewrite(file, change):
    """Replace a parquet file's columns by `change(dict of numpy arrays or lists)`."""
    table = pq.read_table(file)
    columns = change(table.to_pydict())
    pq.write_table(pa.table(columns, schema=table.schema), file)


def write_mapping(path, **gripper):
    """The dataset's own mapping: three joints and a gripper."""
    joints = {"feature": "action", "take": ["shoulder", "elbow", "wrist"]}
    terms = {"arm/position": joints, "arm/gripper": {"feature": "action", "take": ["gripper"]}}
    proprio = {n: {**t, "feature": "observation.state"} for n, t in terms.items()}
    terms["arm/gripper"] |= gripper
    proprio["arm/gripper"] |= gripper
    groups = {
        "arm/position": {"channels": joints["take"], "unit": "rad", "delta": "subtract"},
        "arm/gripper": {"channels": ["gripper"], "unit": "gripper", "delta": "raw"},
    }
    layout = {"name": "arm", "groups": groups}
    mapping = {"embodiment": "arm", "layout": layout, "action": terms, "proprio": proprio}
    (path / "meta/rvq_mapping.yaml").write_text(yaml.safe_dump(mapping))


def test_a_good_dataset_passes_everything(make_dataset):
    path = make_dataset(episodes=episodes_to_train())
    write_mapping(path, closed=0, open=1)
    found = rows(path)
    assert failures(found) == [] and warnings(found) == []
    assert "3 frames behind (0.15 s" in found["lag: action"].message
    assert "low is closed" in found["gripper: arm/gripper"].message


def test_every_warning_and_failure_says_what_to_do(make_dataset):
    found = rows(make_dataset(episodes=3, frames=15, tasks=("unlabelled",), camera=False))
    troubled = [f for f in found.values() if f.status is not Status.PASS]
    assert len(troubled) > 3 and all(f.fix for f in troubled)


def test_wrong_polarity_fails(make_dataset):
    path = make_dataset(episodes=4)
    write_mapping(path, closed=1, open=0)
    found = rows(path)
    assert failures(found) == ["gripper: arm/gripper"]
    assert "opposite" in found["gripper: arm/gripper"].message


@pytest.mark.parametrize("every", [2, 3])
def test_repeated_pictures_are_counted(make_dataset, every):
    found = rows(make_dataset(episodes=4, every=every))["pictures: front"]
    assert found.status is Status.WARN
    assert f"each shown {every} times" in found.message


def test_frozen_pictures_are_found(make_dataset):
    found = rows(make_dataset(episodes=4, every=1000))["pictures: front"]
    assert found.status is Status.WARN and "nothing moves" in found.message


def test_a_state_ahead_of_its_action_is_found(make_dataset):
    def swap(columns, _):
        columns["action"], columns["observation.state"] = (
            columns["observation.state"],
            columns["action"],
        )

    found = rows(make_dataset(episodes=4, change=swap))["lag: action"]
    assert found.status is Status.WARN and "ahead" in found.fix


def test_unrelated_state_is_found(make_dataset):
    def noise(columns, index):
        shape = columns["action"].shape
        columns["observation.state"] = np.random.default_rng(index).normal(size=shape)

    found = rows(make_dataset(episodes=6, change=noise))["lag: action"]
    assert found.status is Status.WARN and "does not follow" in found.message


def test_other_units_are_found(make_dataset):
    def degrees(columns, _):
        columns["observation.state"] = np.rad2deg(columns["observation.state"])

    path = make_dataset(episodes=4, change=degrees)
    found = rows(path)["lag: action"]
    assert found.status is Status.WARN and "57.3 per unit" in found.message
    write_mapping(path, scale=1.0)
    assert rows(path)["lag: action"].status is Status.WARN
    write_mapping(path, scale=57.3)
    assert rows(path)["lag: action"].status is Status.PASS


def test_subtracting_an_anchor_from_a_velocity_fails(make_dataset):
    def velocity(columns, _):
        columns["action"] = np.gradient(columns["observation.state"], 1 / 20, axis=0)

    found = rows(make_dataset(episodes=6, change=velocity))
    assert failures(found) == ["mapping: delta rules"]
    assert found["lag: action"].message.startswith("a velocity")


def test_constant_weak_and_saturated_channels_are_named(make_dataset):
    def spoil(columns, _):
        for rows_ in columns.values():
            rows_[:, 0] = 0.25
            rows_[:, 1] = np.minimum(rows_[:, 1], 0.5)
            rows_[:, 2] *= 0.02

    found = rows(make_dataset(episodes=4, change=spoil))
    assert "action shoulder = 0.25" in found["channels: constant"].message
    assert "action elbow at 0.5" in found["channels: saturated"].message
    assert "wrist" in found["channels: weak"].message


def test_wrapping_angles_used_as_numbers_fail(make_dataset):
    def wrap(columns, _):
        for rows_ in columns.values():
            rows_[:, 2] = (rows_[:, 2] + 2 * np.pi) % (2 * np.pi) - np.pi

    found = rows(make_dataset(episodes=4, change=wrap))
    assert failures(found) == ["channels: wrap"]
    assert "action wrist" in found["channels: wrap"].message
    assert found["lag: action"].status is Status.PASS


def test_idle_share_and_longest_stretch(make_dataset):
    def rest(columns, index):
        for rows_ in columns.values():
            rows_[20:60] = rows_[20]

    found = rows(make_dataset(episodes=4, change=rest))["idle: share"]
    assert found.status is Status.WARN
    assert "longest stretch 2.0 s" in found.message or "longest stretch 1.9 s" in found.message


def test_glitches_are_located(make_dataset):
    def glitch(columns, index):
        if index == 2:
            columns["observation.state"][31, 1] += 40

    found = rows(make_dataset(episodes=4, change=glitch))
    for name in ("outliers: values", "outliers: jumps"):
        assert "observation.state elbow" in found[name].message
        assert "episode 2" in found[name].message


def test_unlabelled_and_short_episodes_are_listed(make_dataset):
    found = rows(make_dataset(episodes=6, frames=15, tasks=("unlabelled", "pour", "cut")))
    assert "2 of 6" in found["language: coverage"].message
    assert found["language: coverage"].message.endswith("0, 3")
    assert "shorter than one window" in found["length: episodes"].message


@pytest.mark.parametrize(
    ("episodes", "status", "said"),
    [
        (2, Status.FAIL, "Record at least 3"),
        (3, Status.WARN, "trains nothing"),
        (episodes_to_train() - 1, Status.WARN, f"Record at least {episodes_to_train()}"),
        (episodes_to_train(), Status.PASS, ""),
    ],
)
def test_so_few_episodes_that_nothing_is_trained_are_said(make_dataset, episodes, status, said):
    found = rows(make_dataset(episodes=episodes, frames=25, camera=False))["length: number"]
    assert found.status is status and said in f"{found.message} {found.fix}"


def test_irregular_and_backward_time(make_dataset):
    path = make_dataset(episodes=4, camera=False)
    rewrite(path / DATA, lambda c: {**c, "timestamp": [t * 1.3 for t in c["timestamp"]]})
    found = rows(path)["rate: timestamps"]
    assert found.status is Status.FAIL and "15.38 Hz" in found.message
    rewrite(path / DATA, lambda c: {**c, "timestamp": [0.0] * len(c["timestamp"])})
    assert "backwards" in rows(path)["rate: timestamps"].message


def test_skipped_frames_fail(make_dataset):
    path = make_dataset(episodes=4, camera=False)
    rewrite(path / DATA, lambda c: {**c, "frame_index": [2 * i for i in c["frame_index"]]})
    assert failures(rows(path)) == ["rate: frame numbers"]


def test_nan_names_the_place_and_the_rest_is_still_checked(make_dataset):
    path = make_dataset(episodes=4, camera=False)

    def spoil(columns):
        columns["action"][100][1] = float("nan")
        return columns

    rewrite(path / DATA, spoil)
    found = rows(path)
    assert failures(found) == ["files: finite numbers"]
    assert "action elbow of episode 1 from frame 20" in found["files: finite numbers"].message
    assert found["lag: action"].status is Status.PASS


def truncate(path, share=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize(
    ("file", "damage", "row"),
    [
        ("meta/info.json", lambda p: p.unlink(), "files: metadata"),
        ("meta/info.json", lambda p: p.write_text("{"), "files: metadata"),
        (EPISODES, truncate, "files: metadata"),
        ("meta/tasks.parquet", lambda p: p.unlink(), "files: tasks"),
        (DATA, truncate, "files: tables"),
        (DATA, lambda p: p.unlink(), "files: tables"),
        (VIDEO, truncate, "cameras: front"),
        (VIDEO, lambda p: p.unlink(), "cameras: front"),
        (VIDEO, lambda p: p.write_bytes(b""), "cameras: front"),
    ],
)
def test_damage_is_a_failed_row_that_names_the_file(make_dataset, file, damage, row):
    path = make_dataset(episodes=4)
    damage(path / file)
    found = rows(path)
    assert row in failures(found)
    name = file.rsplit("/", 1)[1]
    assert name in found[row].message or "episodes" in found[row].message
    assert "Traceback" not in found[row].message


def test_a_video_of_fewer_frames_is_out_of_step(make_dataset):
    path = make_dataset(episodes=4)

    def lengthen(columns):
        key = "videos/observation.images.front/from_timestamp"
        columns[key] = [start + 2.0 for start in columns[key]]
        return columns

    rewrite(path / EPISODES, lengthen)
    found = rows(path)["cameras: front"]
    assert found.status is Status.FAIL and "40 of 80 rows have no frame" in found.message


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_episodes_of_a_few_frames_do_not_break_it(make_dataset, frames):
    found = rows(make_dataset(episodes=3, frames=frames))
    assert failures(found) == []
    assert found["length: episodes"].status is Status.WARN


def test_version_2_1_is_checked_file_by_file(tmp_path):
    path = synthetic.write_v21(tmp_path / "set", lengths=(30, 24, 35, 28))
    assert failures(rows(path)) == []
    truncate(next(path.glob("videos/**/episode_000003.mp4")))
    next(path.glob("data/**/episode_000002.parquet")).unlink()
    found = rows(path)
    assert set(failures(found)) == {"files: tables", "cameras: front", "pictures: front"}
    assert "1 of 4 episodes" in found["cameras: front"].message
    assert "episode_000002.parquet is missing" in found["files: tables"].message


def test_images_in_the_table_count_as_a_camera(tmp_path):
    path = synthetic.write_v3(tmp_path / "set")
    info = json.loads((path / "meta/info.json").read_text())
    info["features"][synthetic.CAMERA]["dtype"] = "image"
    (path / "meta/info.json").write_text(json.dumps(info))
    found = rows(path)
    assert found["cameras: front"].status is Status.PASS
    assert found["pictures: front"].status is Status.FAIL


def test_no_dataset_and_unknown_mapping(tmp_path, make_dataset):
    assert failures(rows(tmp_path / "nothing")) == ["files: metadata"]
    found = rows(make_dataset(episodes=4, camera=False), mapping="not_there")
    assert failures(found) == ["mapping: choice"]
    assert "not_there" in found["mapping: choice"].message


def test_the_command_prints_a_table_and_says_so_by_its_exit_status(make_dataset, capsys):
    path = make_dataset(episodes=4, camera=False)
    assert main(["check", str(path)]) == 0
    text = capsys.readouterr().out
    assert "\033" not in text and "warn  cameras: present" in text
    assert "0 fail. It can be trained on." in text
    (path / DATA).unlink()
    assert main(["check", str(path), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert {"name", "status", "message", "fix"} == set(findings[0])
    assert any(f["status"] == "fail" for f in findings)


def test_frames_that_cannot_be_decoded_are_found_and_named(tmp_path):
    path = synthetic.write_v21(tmp_path / "set", lengths=(30, 24, 35, 28))
    synthetic.damage(next(path.glob("videos/**/episode_000002.mp4")))
    found = rows(path, all_videos=True)
    assert failures(found) == ["pictures: front"]
    assert "episode_000002.mp4 cannot be decoded at" in found["pictures: front"].message


def test_all_videos_decodes_every_episode(make_dataset):
    path = make_dataset(episodes=5)
    assert "3 episodes decoded" in rows(path)["pictures: front"].message
    assert "5 episodes decoded" in rows(path, all_videos=True)["pictures: front"].message
