"""Changes of pictures and states."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.vla.conftest import picture
from tests.vla.data.conftest import STILL
from vla.data.augment import ImageAugmentation, ProprioNoise, View


def test_one_draw_changes_all_pictures_of_a_camera_alike():
    view = ImageAugmentation().draw(np.random.default_rng(0))
    image = picture(0, 40, 60)
    np.testing.assert_array_equal(view.apply(image), view.apply(image))
    assert view.apply(image).shape == image.shape and view.apply(image).dtype == np.uint8
    assert (view.apply(image) != image).mean() > 0.5
    other = ImageAugmentation().draw(np.random.default_rng(1))
    assert (view.apply(image) != other.apply(image)).any()


def test_no_augmentation_leaves_pictures_as_they_are():
    view = STILL["augmentation"].draw(np.random.default_rng(0))
    np.testing.assert_array_equal(view.apply(picture(0)), picture(0))


def test_each_change_does_what_it_is_called():
    image = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    whole = (0.0, 0.0, 1.0, 1.0)
    dark = View(whole, 0.5, 1.0, 1.0).apply(image)
    np.testing.assert_allclose(dark[0, 0], (100, 50, 25), atol=1)
    grey = View(whole, 1.0, 1.0, 0.0).apply(image)
    assert np.ptp(grey[0, 0]) == 0
    image[:, 16:] = 0
    left = View((0.0, 0.0, 0.5, 1.0), 1.0, 1.0, 1.0).apply(image)
    assert (left[:, :30] == (200, 100, 50)).all()
    flat = View(whole, 1.0, 0.0, 1.0).apply(image)
    assert np.ptp(flat) == 0


def test_proprio_is_dropped_whole_or_perturbed_in_its_own_scale(tokenizer):
    known = tokenizer.embodiments["test_arm"].proprio
    state = known.middle.clone()
    state[1] = torch.nan
    chances = [np.random.default_rng(seed) for seed in range(400)]
    told = torch.stack([ProprioNoise(0.25, 0.1).apply(state, known, rng) for rng in chances])
    dropped = told.isnan().all(1)
    assert abs(dropped.float().mean() - 0.25) < 0.07
    kept = told[~dropped]
    assert kept[:, 1].isnan().all()
    spread = (kept[:, 0] - state[0]).std() / known.scale[0]
    assert abs(spread - 0.1) < 0.02


@pytest.mark.parametrize("wrong", [{"crop": 0.0}, {"crop": 1.1}, {"contrast": -0.1}])
def test_wrong_pictures_changes_are_refused(wrong):
    with pytest.raises(ValueError, match="crop must lie in"):
        ImageAugmentation(**wrong)


def test_wrong_noise_is_refused():
    with pytest.raises(ValueError, match="drop lies in"):
        ProprioNoise(drop=1.5)
