"""Extraction goes on after a kill, refuses what does not belong together, and leaves no halves."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.synthetic import damage, write_v3
from tests.tokenizer_training.features.conftest import (
    HEAD,
    LENGTHS,
    WRIST,
    episodes_decoded_again,
    write,
)
from tokenizer_training.cli import main
from tokenizer_training.features import writer
from tokenizer_training.features.cache import FeatureCache
from tokenizer_training.features.command import OPTIONS
from tokenizer_training.features.extract import Extraction, extract
from tokenizer_training.features.index import DatasetIndex
from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.pixels import PixelSettings, PixelTeacher
from tokenizer_training.features.qwen import QwenSettings
from tokenizer_training.features.vision import VisionSettings, VisionTeacher

SMALL = ["--side", "8", "--components", "6", "--fit_frames", "24"]


class Killed(BaseException):
    """As sudden as a signal: nothing catches it."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture
def run(recordings, tmp_path):
    """`rvq-train features` on the small dataset; returns the exit status."""

    def call(*options: str, data: Path = recordings) -> int:
        out = ["--out", str(tmp_path / "cache")]
        return main(["features", "--data.datasets", str(data), *out, *SMALL, *options])

    return call


def kill_after(monkeypatch, owner: type, method: str, calls: int) -> None:
    """Let a method work so many times, and the next call kill the process."""
    done, real = [], getattr(owner, method)

    def mortal(self, *args):
        if len(done) == calls:
            raise Killed
        done.append(None)
        return real(self, *args)

    monkeypatch.setattr(owner, method, mortal)


@pytest.mark.parametrize(
    ("owner", "method", "calls", "kept"),
    [
        (DatasetIndex, "save", 0, None),
        (PixelTeacher, "look", 1, 0),
        (PixelTeacher, "look", 9, 0),
        (PixelTeacher, "fit", 1, 0),
        (PixelTeacher, "project", 22, 2),
        (DatasetIndex, "save", 2, 2),
    ],
    ids=[
        *("before anything", "at the start", "while looking", "while fitting", "while projecting"),
        "between a shard and the index",
    ],
)
def test_a_killed_extraction_goes_on_to_the_same_cache(
    pictures, pixels, tmp_path, monkeypatch, owner, method, calls, kept
):
    monkeypatch.setattr(writer, "EPISODES_PER_SHARD", 2)
    how, whole, out = Extraction(batch_size=4), tmp_path / "whole", tmp_path / "out"
    extract(pixels, [pictures], how, whole)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, owner, method, calls)
        extract(pixels, [pictures], how, out)
    if kept is not None:
        cache = FeatureCache.open(out).dataset("stripes")
        _, known = cache.lookup(np.arange(6), np.zeros(6, int))
        assert known.tolist() == [i < kept for i in range(6)]
    extract(pixels, [pictures], how, out)
    assert contents(out) == contents(whole)


def test_a_network_gives_features_at_once_and_keeps_no_looks(
    networks, pictures, tmp_path, monkeypatch, decoded
):
    """Shards that a kill left are not looked at again; what waited for one is."""
    monkeypatch.setattr(writer, "EPISODES_PER_SHARD", 2)
    teacher = VisionTeacher(VisionSettings(str(networks["dinov2"])))
    assert teacher.card, "it finds out its width by looking"
    how, whole, out = Extraction(batch_size=50), tmp_path / "whole", tmp_path / "out"
    extract(teacher, [pictures], how, whole)
    assert len(decoded) == len(set(decoded)) == 2 * sum(LENGTHS)
    decoded.clear()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, VisionTeacher, "look", 3)
        extract(teacher, [pictures], how, out)
    assert not (out / "stripes" / "looks").exists()
    extract(teacher, [pictures], how, out)
    assert contents(out) == contents(whole)
    assert len(set(decoded)) == 2 * sum(LENGTHS) and episodes_decoded_again(decoded) == {2, 3}


def test_a_part_of_a_dataset_is_not_taken_for_the_whole(
    pictures, pixels, recordings, tmp_path, monkeypatch
):
    from rvq_action.data.dataset import RobotDataset

    monkeypatch.setattr(writer, "EPISODES_PER_SHARD", 2)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, DatasetIndex, "save", 2)
        extract(pixels, [pictures], Extraction(), tmp_path)
    found = FeatureCache.open(tmp_path).dataset("stripes")
    with pytest.raises(ValueError, match="holds 2 of 6 episodes. Go on with"):
        found.check_complete(RobotDataset.open(recordings))


def test_a_finished_cache_is_left_alone(run, tmp_path, monkeypatch, caplog):
    assert run() == 0
    before = contents(tmp_path / "cache")
    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        kill_after(patch, PixelTeacher, "look", 0)
        kill_after(patch, PixelTeacher, "fit", 0)
        assert run("--batch_size", "3") == 0
    assert "stripes: all 6 episodes are in" in caplog.text
    assert contents(tmp_path / "cache") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--components", "5"], "settings.components: 6 -> 5"),
        (["--side", "4"], "settings.side: 8 -> 4"),
        (["--stride", "2"], "(other stride)"),
        (["--cameras", "wrist"], "(other cameras)"),
        (["--split_seed", "1"], "(other train)"),
    ],
)
def test_a_cache_made_in_another_way_is_refused(run, tmp_path, capsys, options, message):
    assert run() == 0
    before = contents(tmp_path / "cache")
    assert run(*options) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error and error.endswith("Choose another --out, or delete that folder.")
    assert contents(tmp_path / "cache") == before


def test_a_cache_of_recordings_that_changed_is_refused(run, tmp_path, capsys):
    assert run() == 0
    assert run(data=write(tmp_path / "stripes", (*LENGTHS, 9))) == 1
    assert "other recordings" in capsys.readouterr().err


def test_a_cache_of_other_pictures_is_not_taken_for_finished(run, tmp_path, capsys):
    assert run() == 0
    assert run(data=write(tmp_path / "stripes", change=(5,))) == 1
    assert "(other pictures)" in capsys.readouterr().err


def test_files_of_others_are_not_written_among(run, tmp_path, capsys):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "thesis.txt").write_text("")
    assert run() == 1
    assert "holds other files" in capsys.readouterr().err


def test_a_truncated_video_is_named_and_leaves_whole_episodes(pixels, tmp_path, monkeypatch):
    data = write(tmp_path / "stripes")
    monkeypatch.setattr(writer, "EPISODES_PER_SHARD", 1)
    extract(pixels, [Pictures.open(data)], Extraction(), tmp_path / "whole")
    video = next((data / "videos" / WRIST).rglob("*.mp4"))
    original = video.read_bytes()
    video.write_bytes(original[: len(original) // 2])
    with pytest.raises(ValueError, match=rf"{WRIST}.*truncated"):
        extract(pixels, [Pictures.open(data)], Extraction(), tmp_path / "cache")
    assert not list(tmp_path.joinpath("cache").rglob("*.partial"))
    video.write_bytes(original)
    extract(pixels, [Pictures.open(data)], Extraction(), tmp_path / "cache")
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")


def test_a_damaged_video_is_said_in_one_line(run, tmp_path, capsys):
    data = write(tmp_path / "stripes")
    video = damage(next((data / "videos" / WRIST).rglob("*.mp4")))
    assert run(data=data) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"rvq-train features: {video} cannot be decoded at ")
    assert error.endswith("Copy it again.")


def test_features_that_are_no_numbers_are_refused(pictures, pixels, tmp_path, monkeypatch):
    blind = lambda _, looks, state: torch.full((len(looks), 6), torch.nan)  # noqa: E731
    monkeypatch.setattr(PixelTeacher, "project", blind)
    with pytest.raises(ValueError, match="stripes, episode 0: the teacher gives NaN"):
        extract(pixels, [pictures], Extraction(), tmp_path)
    assert FeatureCache.open(tmp_path).dataset("stripes").index.done == 0


def test_cameras_are_chosen_by_short_or_long_name(recordings):
    assert Pictures.open(recordings).cameras == (HEAD, WRIST)
    assert Pictures.open(recordings, ["wrist", HEAD]).cameras == (WRIST, HEAD)


def test_the_instruction_is_the_task_unless_it_says_nothing(pictures):
    assert [pictures.instruction(i) for i in range(2)] == ["pick", ""]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cameras", "elbow"], "has no camera 'elbow'. Choose from head wrist."),
        (["--stride", "0"], "--stride must be at least 1"),
        (["--layer", "-3"], "--layer is no option of the teacher pixels; it takes --side"),
        (["--held_out", "2"], "held-out share"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(run, tmp_path, capsys, options, message):
    assert run(*options) == 1
    error = capsys.readouterr().err
    assert error.startswith("rvq-train features: ") and message in error
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("settings", [PixelSettings, VisionSettings, QwenSettings])
def test_every_setting_of_a_teacher_is_an_option_that_states_its_default(settings):
    for field in fields(settings):
        assert field.default is MISSING or f"({field.default}" in OPTIONS[field.name][1]


def test_two_datasets_of_one_name_are_refused(run, recordings, tmp_path, capsys):
    twin = write_v3(tmp_path / "stripes")
    assert run("--data.datasets", str(recordings), str(twin)) == 1
    assert "share the folder names ['stripes']" in capsys.readouterr().err


def test_a_dataset_without_cameras_is_refused_with_the_way_out(run, tmp_path, capsys):
    from rvq_action.data.writer import LeRobotWriter
    from tests.synthetic import FEATURES, FPS, columns

    with LeRobotWriter(tmp_path / "blind", FPS, FEATURES, "test_arm") as blind:
        blind.add_episode(columns(9), task="go")
    assert run(data=tmp_path / "blind") == 1
    assert "has no camera" in (error := capsys.readouterr().err) and "without features" in error
