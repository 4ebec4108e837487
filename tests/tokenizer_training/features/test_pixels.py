"""The teacher without weights: what it sees, and what it must not have seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tokenizer_training.features.conftest import HEAD, LENGTHS, WRIST, write
from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.pixels import PixelSettings, PixelTeacher, shrink


def test_shrinking_averages_over_areas():
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (2, 12, 20, 3), dtype=np.uint8)
    blocks = frames.reshape(2, 4, 3, 4, 5, 3).mean((2, 4)) / 255
    assert np.allclose(shrink(frames, 4).unflatten(1, (3, 4, 4)).permute(0, 2, 3, 1), blocks)


def test_every_camera_has_its_own_transform(pictures, pixels):
    state = pixels.fit(pictures.sample(range(4), 20, 7))
    assert {name.split("/")[0] for name in state} == {HEAD, WRIST}
    batch = next(pictures.batches(0, np.arange(5), 5))
    both = pixels.fitted(state).features(batch, "")
    assert both.shape == (5, 2, 6)
    alone = pixels.fitted(state).features({WRIST: batch[WRIST]}, "")
    assert torch.equal(both[:, 1:], alone)


def test_sampling_is_even_and_bounded(pictures):
    batches = list(pictures.sample(range(6), 16, 5))
    assert sum(len(batch[HEAD]) for batch in batches) == 16
    assert max(len(batch[HEAD]) for batch in batches) <= 5
    everything = pictures.sample(range(6), 10_000, 50)
    assert sum(len(batch[HEAD]) for batch in everything) == sum(LENGTHS)


def test_held_out_pictures_do_not_change_the_teacher(pictures, pixels, tmp_path):
    train = (0, 2, 3, 5)
    state = pixels.fit(pictures.sample(train, 24, 8))
    other = Pictures.open(write(tmp_path / "stripes", change=(1, 4)))
    same = pixels.fit(other.sample(train, 24, 8))
    assert all(torch.equal(state[name], same[name]) for name in state)
    seen = pixels.fit(other.sample((0, 1, 2, 3), 24, 8))
    assert not torch.equal(state[f"{HEAD}/mean"], seen[f"{HEAD}/mean"])


@pytest.mark.parametrize(
    "wrong", [{"components": 0}, {"components": 13, "side": 2}, {"fit_frames": 1}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        PixelTeacher(PixelSettings(**wrong))
