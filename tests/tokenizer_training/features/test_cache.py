"""What is extracted can be looked up, and nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rvq_action.data.dataset import RobotDataset
from tests.tokenizer_training.features.conftest import HEAD, LENGTHS, WRIST, by_hand, write
from tokenizer_training.features import writer
from tokenizer_training.features.cache import FeatureCache
from tokenizer_training.features.extract import Extraction, extract
from tokenizer_training.features.index import DatasetIndex
from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.pixels import PixelTeacher


@pytest.fixture
def cache(pictures, pixels, tmp_path, monkeypatch) -> FeatureCache:
    monkeypatch.setattr(writer, "EPISODES_PER_SHARD", 4)
    extract(pixels, [pictures], Extraction(stride=3, batch_size=4), tmp_path / "cache")
    return FeatureCache.open(tmp_path / "cache")


def test_features_are_those_of_the_teacher(cache, pictures, pixels):
    found = cache.dataset("stripes")
    assert (found.cameras, found.width) == ((HEAD, WRIST), 6)
    expected = by_hand(pictures, pixels.settings, found.fitted, stride=3, batch_size=4)
    for episode, length in enumerate(LENGTHS):
        numbers = np.arange(0, length, 3)
        features, known = found.lookup(np.full(len(numbers), episode), numbers)
        assert known.all() and features.dtype == torch.float32
        assert torch.equal(features, expected[episode].flatten(1))


def test_between_extracted_frames_the_one_before_counts(cache):
    found = cache.dataset("stripes")
    between, _ = found.lookup(np.array([4, 4, 4, 4]), np.array([3, 4, 5, 6]))
    assert torch.equal(between[0], between[1]) and torch.equal(between[0], between[2])
    assert not torch.equal(between[0], between[3])


def test_beyond_an_episode_nothing_is_known(cache):
    episodes = torch.tensor([0, 0, 0, -1, 6, 5])
    frames = torch.tensor([-1, 11, 12, 0, 0, 7])
    features, known = cache.dataset("stripes").lookup(episodes, frames)
    assert known.tolist() == [False, True, False, False, False, True]
    assert features[~known].eq(0).all() and features[known].ne(0).any(1).all()


def test_a_lookup_of_nothing_is_empty(cache):
    nothing = np.zeros(0, dtype=np.int64)
    features, known = cache.dataset("stripes").lookup(nothing, nothing)
    assert features.shape == (0, 12) and known.shape == (0,)


def test_the_recordings_are_recognised(cache, recordings):
    cache.dataset("stripes").check_complete(RobotDataset.open(recordings))


@pytest.mark.parametrize("lengths", [(12, 9, 14, 10, 11), (12, 9, 14, 10, 8, 11)])
def test_other_recordings_are_refused(cache, tmp_path, lengths):
    other = write(tmp_path / "stripes", lengths)
    with pytest.raises(ValueError, match="other recordings .* extract the features again"):
        cache.dataset("stripes").check_complete(RobotDataset.open(other))


@pytest.fixture
def changed(tmp_path):
    """Recordings of the same name and lengths, one of which shows other things."""
    return write(tmp_path / "stripes", change=(5,))


def test_other_pictures_of_as_many_frames_are_refused(cache, changed):
    with pytest.raises(ValueError, match="other pictures than .* extract the features again"):
        cache.dataset("stripes").check_complete(RobotDataset.open(changed))


def test_pictures_are_not_compared_where_nothing_is_known_of_them(cache, changed):
    """In a cache that does not remember them, and in recordings without their videos."""
    index = cache.path / "stripes" / "index.json"
    stored = json.loads(index.read_text())
    assert stored.pop("pictures")
    for video in (changed / "videos").rglob("*.mp4"):
        video.rename(video.with_suffix(".away"))
    cache.dataset("stripes").check_complete(RobotDataset.open(changed))
    for video in (changed / "videos").rglob("*.away"):
        video.rename(video.with_suffix(".mp4"))
    index.write_text(json.dumps(stored))
    before = cache.dataset("stripes")
    before.check_complete(RobotDataset.open(changed))
    assert before.index.pictures is None


class Reading(PixelTeacher):
    """A teacher that says of itself that it reads the instruction."""

    reads_instruction = True


@pytest.mark.parametrize("kind", [PixelTeacher, Reading])
def test_other_tasks_are_refused_where_the_teacher_reads_them(kind, pixels, tmp_path):
    teacher = kind(pixels.settings)
    for name in "before", "after":
        (tmp_path / name).mkdir()
    before = write(tmp_path / "before" / "stripes")
    after = write(tmp_path / "after" / "stripes", tasks=("push", "unlabelled"))
    extract(teacher, [Pictures.open(before)], Extraction(), tmp_path / "cache")
    found = FeatureCache.open(tmp_path / "cache").dataset("stripes")
    found.check_complete(RobotDataset.open(before))
    if kind is PixelTeacher:
        found.check_complete(RobotDataset.open(after))
        extract(teacher, [Pictures.open(after)], Extraction(), tmp_path / "cache")
        return
    with pytest.raises(ValueError, match="reads the episodes' tasks.*have changed.*again"):
        found.check_complete(RobotDataset.open(after))
    with pytest.raises(ValueError, match=r"\(other instructions\)"):
        extract(teacher, [Pictures.open(after)], Extraction(), tmp_path / "cache")


def test_a_cache_of_before_instructions_were_remembered_is_still_read(cache, recordings):
    index = cache.path / "stripes" / "index.json"
    data = json.loads(index.read_text())
    assert data.pop("instructions") is None, "pixels read none"
    index.write_text(json.dumps(data))
    cache.dataset("stripes").check_complete(RobotDataset.open(recordings))


@pytest.mark.parametrize("episodes", [2, 6], ids=["a part of it", "all of it"])
def test_a_cache_of_before_instructions_were_remembered_goes_on(
    episodes, pixels, pictures, tmp_path, monkeypatch
):
    """Its index lacks them, and so does its fingerprint: the one of a teacher that reads none."""
    monkeypatch.setattr(writer, "EPISODES_PER_SHARD", 2)
    extract(pixels, [pictures], Extraction(), tmp_path)
    whole = DatasetIndex.load(tmp_path / "stripes")
    begun = {**asdict(whole), "shards": [end for end in whole.shards if end <= episodes]}
    if episodes < len(LENGTHS):
        begun["pictures"] = None
    assert begun.pop("instructions") is None
    (tmp_path / "stripes" / "index.json").write_text(json.dumps({"format_version": 1, **begun}))
    extract(Reading(pixels.settings), [pictures], Extraction(), tmp_path)
    assert DatasetIndex.load(tmp_path / "stripes") == whole


@pytest.fixture
def of_before(cache) -> Path:
    """The index of a cache whose fingerprint was made of what the teacher was fitted to."""
    file = cache.path / "stripes" / "index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "fingerprint": "a8bc4bab3c0cb48a"}))
    return file


def test_a_finished_cache_with_a_fingerprint_of_before_keeps_it(
    of_before, cache, pictures, pixels, recordings
):
    """Runs remember it. Asked for again it is found complete."""
    before = of_before.read_bytes()
    extract(pixels, [pictures], Extraction(stride=3), cache.path)
    assert of_before.read_bytes() == before
    found = cache.dataset("stripes")
    found.check_complete(RobotDataset.open(recordings))
    assert found.fingerprint == "a8bc4bab3c0cb48a"


def test_a_begun_cache_with_a_teacher_of_before_is_refused(of_before, cache, pictures, pixels):
    """Nobody knows what pictures it was fitted to."""
    data = json.loads(of_before.read_text())
    of_before.write_text(json.dumps({**data, "shards": [4], "pictures": None}))
    state = of_before.with_name("teacher.safetensors")
    save_file(load_file(state), state)
    with pytest.raises(ValueError, match="by an earlier version of rvq-train. Delete the folder"):
        extract(pixels, [pictures], Extraction(stride=3), cache.path)


def test_features_by_other_instructions_have_another_fingerprint(pixels, tmp_path):
    """Runs remember it: none goes on with features of other instructions than it began with."""
    found = {}
    for task in "pick", "push":
        (tmp_path / task).mkdir()
        told = Pictures.open(write(tmp_path / task / "stripes", tasks=(task,)))
        for teacher in pixels, Reading(pixels.settings):
            out = tmp_path / task / type(teacher).__name__
            extract(teacher, [told], Extraction(), out)
            found[task, type(teacher)] = FeatureCache.open(out).dataset("stripes").fingerprint
    assert found["pick", PixelTeacher] == found["push", PixelTeacher]
    assert len(set(found.values())) == 3


def test_a_teacher_fitted_on_held_out_episodes_is_refused(cache):
    found = cache.dataset("stripes")
    found.check_split(found.fitted)
    found.check_split(range(6))
    with pytest.raises(ValueError, match=rf"episodes \[{found.fitted[0]}\], which are held out"):
        found.check_split(found.fitted[1:])


def test_a_frozen_network_fits_every_split(networks, pictures, tmp_path):
    from tokenizer_training.features.vision import VisionSettings, VisionTeacher

    teacher = VisionTeacher(VisionSettings(str(networks["dinov2"])))
    extract(teacher, [pictures], Extraction(stride=9), tmp_path)
    found = FeatureCache.open(tmp_path).dataset("stripes")
    assert len(found.fitted) == 5
    found.check_split(())


def test_what_is_not_there_is_named(cache, tmp_path):
    with pytest.raises(KeyError, match=r"no features of 'cubes', only of \['stripes'\]"):
        cache.dataset("cubes")
    with pytest.raises(FileNotFoundError, match="rvq-train features"):
        FeatureCache.open(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_shard_is_named(cache, damage):
    shard = cache.path / "stripes" / "00001.safetensors"
    whole = shard.read_bytes()
    shard.unlink()
    if damage == "truncated":
        shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="00001.safetensors is missing or damaged"):
        cache.dataset("stripes").lookup(np.array([5]), np.array([0]))


def test_another_format_is_refused(cache):
    card = cache.path / "teacher.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "format_version": 2}))
    with pytest.raises(ValueError, match="format version 2"):
        FeatureCache.open(cache.path)


def test_several_datasets_share_a_cache(cache, pixels, tmp_path):
    """Also one that is added later; the features of the first stay as they are."""
    before = cache.dataset("stripes").fingerprint
    more = Pictures.open(write(tmp_path / "more", (9, 8, 10), change=(0, 1, 2)), ["wrist"])
    extract(pixels, [more], Extraction(), cache.path)
    assert cache.datasets == ("more", "stripes")
    assert cache.dataset("more").cameras == (WRIST,)
    assert cache.dataset("stripes").fingerprint == before != cache.dataset("more").fingerprint
