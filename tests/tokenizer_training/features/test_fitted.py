"""A fitted teacher: every frame is decoded once, whatever kills the extraction and wherever."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tokenizer_training.features.conftest import (
    LENGTHS,
    SIZES,
    by_hand,
    episodes_decoded_again,
    write,
)
from tests.tokenizer_training.features.test_extract import Killed, contents, kill_after
from tokenizer_training.features import writer
from tokenizer_training.features.cache import FeatureCache
from tokenizer_training.features.extract import Extraction, extract
from tokenizer_training.features.index import DatasetIndex
from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.pixels import PixelSettings, PixelTeacher

FRAMES = sum(LENGTHS) * len(SIZES)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(writer, "EPISODES_PER_SHARD", 2)


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("fit_frames", [13, 10_000])
def test_features_are_bit_for_bit_those_of_all_pictures_at_once(
    pictures, tmp_path, stride, fit_frames
):
    teacher = PixelTeacher(PixelSettings(side=8, components=6, fit_frames=fit_frames))
    extract(teacher, [pictures], Extraction(stride, batch_size=5), tmp_path)
    found = FeatureCache.open(tmp_path).dataset("stripes")
    expected = by_hand(pictures, teacher.settings, found.fitted, stride, batch_size=5)
    for episode, length in enumerate(LENGTHS):
        numbers = np.arange(0, length, stride)
        features, _ = found.lookup(np.full(len(numbers), episode), numbers)
        assert torch.equal(features, expected[episode].flatten(1))


def test_every_frame_of_every_camera_is_decoded_once(pictures, pixels, tmp_path, decoded):
    extract(pixels, [pictures], Extraction(batch_size=4), tmp_path)
    assert len(decoded) == len(set(decoded)) == FRAMES


def test_with_a_stride_only_frames_that_are_needed_are_decoded(pictures, pixels, tmp_path, decoded):
    extract(pixels, [pictures], Extraction(stride=6, batch_size=4), tmp_path)
    assert len(decoded) == len(set(decoded)) < FRAMES


def test_looks_are_gone_when_the_features_are_there(pictures, pixels, tmp_path):
    extract(pixels, [pictures], Extraction(), tmp_path)
    names = {file.name for file in (tmp_path / "stripes").iterdir()}
    shards = {f"{number:05d}.safetensors" for number in range(3)}
    assert names == {"index.json", "teacher.safetensors", *shards}


def extract_with_kills(monkeypatch, owner, name: str, calls: int, *what) -> int:
    """Extract; every attempt dies in the call after so many of a function. Returns attempts."""
    for attempt in range(1, 100):
        done, real = [], getattr(owner, name)

        def mortal(*args, done=done, real=real, **options):
            if len(done) == calls:
                raise Killed
            done.append(None)
            return real(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, mortal)
            try:
                extract(*what)
                return attempt
            except Killed:
                pass
    raise AssertionError("It never ended.")


@pytest.mark.parametrize(
    ("owner", "name", "calls", "attempts"),
    [
        (os, "replace", 3, 5),
        (os, "replace", 4, 3),
        (PixelTeacher, "look", 4, 6),
        (PixelTeacher, "project", 18, 3),
        (DatasetIndex, "save", 2, 3),
    ],
    ids=["files", "more files", "looking", "projecting", "index"],
)
def test_kill_after_kill_nothing_is_decoded_again_but_the_episode_cut_off(
    pictures, pixels, tmp_path, monkeypatch, decoded, owner, name, calls, attempts
):
    how = Extraction(batch_size=4)
    extract(pixels, [pictures], how, tmp_path / "whole")
    decoded.clear()
    out = tmp_path / "out"
    used = extract_with_kills(monkeypatch, owner, name, calls, pixels, [pictures], how, out)
    assert used >= attempts
    assert contents(out) == contents(tmp_path / "whole")
    assert len(set(decoded)) == FRAMES
    assert len(episodes_decoded_again(decoded)) <= used - 1
    assert max(Counter(decoded).values()) <= 2


@pytest.mark.parametrize("write_number", range(16))
def test_a_kill_at_any_write_loses_at_most_an_episode(
    pictures, pixels, tmp_path, monkeypatch, decoded, write_number
):
    """The card, the index, six looks, the state, three shards with an index each: then no more."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    extract(pixels, [pictures], Extraction(), whole)
    decoded.clear()
    real, written = os.replace, []

    def replace(old, new):
        if len(written) == write_number:
            raise Killed
        written.append(new)
        real(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        try:
            extract(pixels, [pictures], Extraction(), out)
            assert write_number > 14
        except Killed:
            assert write_number <= 14
    extract(pixels, [pictures], Extraction(), out)
    assert contents(out) == contents(whole)
    cut_off = {write_number - 2} & set(range(6))
    assert len(set(decoded)) == FRAMES and episodes_decoded_again(decoded) == cut_off


def test_a_kill_while_looks_are_deleted_leaves_none_behind(
    pictures, pixels, tmp_path, monkeypatch, decoded
):
    def rmtree(folder: Path) -> None:
        next(folder.iterdir()).unlink()
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(shutil, "rmtree", rmtree)
        extract(pixels, [pictures], Extraction(), tmp_path)
    assert (tmp_path / "stripes" / "looks").is_dir()
    extract(pixels, [pictures], Extraction(), tmp_path)
    assert not (tmp_path / "stripes" / "looks").exists()
    assert len(decoded) == FRAMES


def test_a_killed_extraction_of_other_pictures_is_refused(pixels, tmp_path, monkeypatch):
    """Its looks are of pictures that are no more."""
    before = Pictures.open(write(tmp_path / "before" / "stripes"))
    after = Pictures.open(write(tmp_path / "after" / "stripes", change=(5,)))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, PixelTeacher, "look", 3)
        extract(pixels, [before], Extraction(), tmp_path / "out")
    with pytest.raises(ValueError, match=r"\(other pictures\)"):
        extract(pixels, [after], Extraction(), tmp_path / "out")


def test_looks_of_an_index_that_is_gone_are_not_taken(pixels, tmp_path, monkeypatch):
    before = Pictures.open(write(tmp_path / "before" / "stripes"))
    after = Pictures.open(write(tmp_path / "after" / "stripes", change=(1, 5)))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, PixelTeacher, "project", 1)
        extract(pixels, [before], Extraction(), tmp_path / "out")
    (tmp_path / "out" / "stripes" / "index.json").unlink()
    extract(pixels, [after], Extraction(), tmp_path / "out")
    extract(pixels, [after], Extraction(), tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def kill_while_projecting(pictures, pixels, out: Path, monkeypatch) -> Path:
    """Leave a cache with looks, a fitted teacher and two of six episodes; its dataset's folder."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, PixelTeacher, "project", 22)
        extract(pixels, [pictures], Extraction(batch_size=4), out)
    return out / "stripes"


@pytest.mark.parametrize("damage", ["truncated", "a bit", "missing"])
def test_a_damaged_teacher_is_refused(pictures, pixels, tmp_path, monkeypatch, damage):
    file = kill_while_projecting(pictures, pixels, tmp_path, monkeypatch) / "teacher.safetensors"
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 1
    file.unlink()
    if damage != "missing":
        file.write_bytes(whole if damage == "a bit" else whole[:-9])
    with pytest.raises(ValueError, match="teacher.safetensors is .*damaged.* Delete the folder"):
        extract(pixels, [pictures], Extraction(batch_size=4), tmp_path)


def test_a_teacher_fitted_to_other_pictures_is_refused(pictures, pixels, tmp_path, monkeypatch):
    folder = kill_while_projecting(pictures, pixels, tmp_path / "out", monkeypatch)
    other = Pictures.open(write(tmp_path / "stripes", change=(0,)))
    extract(pixels, [other], Extraction(), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "stripes" / "teacher.safetensors", folder)
    with pytest.raises(ValueError, match="teacher.safetensors .* was fitted to other pictures"):
        extract(pixels, [pictures], Extraction(batch_size=4), tmp_path / "out")


def test_a_damaged_look_is_named_and_can_be_taken_again(
    pictures, pixels, tmp_path, monkeypatch, decoded
):
    extract(pixels, [pictures], Extraction(batch_size=4), tmp_path / "whole")
    folder = kill_while_projecting(pictures, pixels, tmp_path / "out", monkeypatch)
    file = folder / "looks" / "00003.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"looks/00003.safetensors is missing or damaged"):
        extract(pixels, [pictures], Extraction(batch_size=4), tmp_path / "out")
    file.unlink()
    decoded.clear()
    extract(pixels, [pictures], Extraction(batch_size=4), tmp_path / "out")
    assert {episode for _, episode, _ in decoded} == {3}
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def full_disk(monkeypatch, free: int) -> None:
    usage = shutil.disk_usage(".")._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def test_a_disk_without_room_is_refused_before_anything_is_decoded(
    pictures, pixels, tmp_path, monkeypatch, decoded
):
    """Also for the second of two datasets; 3 x 8 x 8 float32 of each frame."""
    more = Pictures.open(write(tmp_path / "more", (40, 40, 40)))
    needed = 120 * 2 * 768
    full_disk(monkeypatch, needed - 1)
    with pytest.raises(ValueError, match=r"cache/more needs 0\.00 GB .* \(1536 bytes a frame\)"):
        extract(pixels, [pictures, more], Extraction(), tmp_path / "cache")
    assert not decoded
    full_disk(monkeypatch, needed)
    extract(pixels, [pictures, more], Extraction(), tmp_path / "cache")


def test_looks_that_are_there_need_no_more_room(pictures, pixels, tmp_path, monkeypatch):
    kill_while_projecting(pictures, pixels, tmp_path, monkeypatch)
    full_disk(monkeypatch, 0)
    extract(pixels, [pictures], Extraction(batch_size=4), tmp_path)
