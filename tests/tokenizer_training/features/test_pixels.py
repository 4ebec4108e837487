"""The teacher without weights: what it sees, and what it must not have seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tokenizer_training.features.conftest import HEAD, WRIST
from tokenizer_training.features.pixels import PixelSettings, PixelTeacher, shrink


def test_shrinking_averages_over_areas():
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (2, 12, 20, 3), dtype=np.uint8)
    blocks = frames.reshape(2, 4, 3, 4, 5, 3).mean((2, 4)) / 255
    assert np.allclose(shrink(frames, 4).unflatten(1, (3, 4, 4)).permute(0, 2, 3, 1), blocks)


def test_a_look_is_the_small_picture_of_every_camera(pictures, pixels):
    batch = next(pictures.batches(0, np.arange(5), 5))
    looks = pixels.look(batch, "")
    assert looks.shape == (5, 2, pixels.look_width) and looks.dtype == torch.float32
    assert torch.equal(looks[:, 0], shrink(batch[HEAD], 8))
    assert torch.equal(looks[:, 1], shrink(batch[WRIST], 8))


def test_features_are_components_around_the_mean(pixels):
    looks = torch.rand(40, pixels.look_width, generator=torch.Generator().manual_seed(0))
    state = pixels.fit(looks)
    features = pixels.project(looks, state)
    assert features.shape == (40, 6) and torch.allclose(state["mean"], looks.mean(0))
    assert torch.allclose(features.mean(0), torch.zeros(6), atol=1e-6)
    assert features.var(0, correction=0).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "wrong", [{"components": 0}, {"components": 13, "side": 2}, {"fit_frames": 1}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        PixelTeacher(PixelSettings(**wrong))
