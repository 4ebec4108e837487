"""The fingerprint of a dataset's features: of what decides them, and of no computed number."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.tokenizer_training.features.conftest import HEAD, WRIST, write
from tokenizer_training.features.cache import FeatureCache
from tokenizer_training.features.components import principal_components
from tokenizer_training.features.extract import Extraction, extract
from tokenizer_training.features.index import DatasetIndex
from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.pixels import PixelSettings, PixelTeacher
from tokenizer_training.features.teacher import TeacherCard

FITTED = PixelTeacher().card
NETWORK = TeacherCard("vision", {"pooling": "mean"}, "0123", "somewhere", 8, "float32")
INDEX = DatasetIndex(
    *("arm", "", 30.0, (12, 9, 14), ("head", "wrist"), 2, (0, 2)), pictures="4567", instructions="8"
)


@pytest.mark.parametrize(
    "other",
    [
        {"lengths": (12, 9, 15)},
        {"lengths": (9, 12, 14)},
        {"cameras": ("wrist", "head")},
        {"cameras": ("head",)},
        {"stride": 1},
        {"train": (0, 1)},
        {"pictures": "4568"},
        {"pictures": None},
        {"instructions": "9"},
        {"instructions": None},
    ],
)
def test_whatever_decides_the_features_decides_the_fingerprint(other):
    assert replace(INDEX, **other).signed(FITTED).fingerprint != INDEX.signed(FITTED).fingerprint


@pytest.mark.parametrize(
    "other", [{"name": "leg"}, {"fps": 15.0}, {"shards": (2, 3)}, {"fingerprint": "else"}]
)
def test_nothing_else_does(other):
    assert replace(INDEX, **other).signed(FITTED).fingerprint == INDEX.signed(FITTED).fingerprint


def test_the_split_decides_nothing_for_a_network():
    other = replace(INDEX, train=(0, 1))
    assert other.signed(NETWORK).fingerprint == INDEX.signed(NETWORK).fingerprint


@pytest.mark.parametrize("settings", [{"side": 16}, {"components": 32}, {"fit_frames": 100}])
def test_the_teacher_decides_it(settings):
    other = PixelTeacher(PixelSettings(**settings)).card
    assert INDEX.signed(other).fingerprint != INDEX.signed(FITTED).fingerprint


def test_the_last_digits_of_a_processor_do_not(pictures, pixels, tmp_path, monkeypatch):
    """Components that are one bit off give other features, under the same fingerprint."""

    def elsewhere(samples, count):
        mean, components = principal_components(samples, count)
        return mean, torch.nextafter(components, torch.tensor(torch.inf))

    found = []
    for name in "here", "elsewhere":
        extract(pixels, [pictures], Extraction(), tmp_path / name)
        found.append(FeatureCache.open(tmp_path / name).dataset("stripes"))
        monkeypatch.setattr("tokenizer_training.features.pixels.principal_components", elsewhere)
    here, there = found
    assert here.fingerprint == there.fingerprint
    (seen, _), (other, _) = (f.lookup(torch.arange(6), torch.arange(6)) for f in found)
    assert not torch.equal(seen, other) and torch.allclose(seen, other, atol=1e-5)


def test_extractions_of_other_things_are_told_apart(pictures, pixels, recordings, tmp_path):
    """Pictures, split, cameras, stride, teacher; the batch size decides nothing."""
    other = Pictures.open(write(tmp_path / "stripes", change=(5,)))
    ways = [
        (pixels, pictures, Extraction()),
        (pixels, pictures, Extraction(batch_size=3)),
        (pixels, other, Extraction()),
        (pixels, pictures, Extraction(split_seed=1)),
        (pixels, Pictures.open(recordings, [WRIST, HEAD]), Extraction()),
        (pixels, pictures, Extraction(stride=2)),
        (PixelTeacher(PixelSettings(side=8, components=5, fit_frames=24)), pictures, Extraction()),
    ]
    prints = []
    for number, (teacher, seen, how) in enumerate(ways):
        extract(teacher, [seen], how, tmp_path / str(number))
        found = FeatureCache.open(tmp_path / str(number)).dataset("stripes")
        prints.append(found.fingerprint)
        assert found.fingerprint == found.index.signed(teacher.card).fingerprint
    assert prints[0] == prints[1] and len(set(prints)) == len(ways) - 1
