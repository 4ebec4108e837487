"""Pictures into patches."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.vla.conftest import SIZE, picture
from vla.images import cut_pixels, fit, read_pixels


@pytest.mark.parametrize(("height", "width"), [(28, 28), (SIZE, SIZE), (84, 56)])
@pytest.mark.parametrize("count", [1, 3])
def test_cut_pictures_are_the_processors(policy, height, width, count):
    images = [picture(n, height, width) for n in range(count)]
    expected, found = (f(policy.backbone.images, images) for f in (read_pixels, cut_pixels))
    torch.testing.assert_close(found.patches, expected.patches, atol=1e-6, rtol=1e-6)
    assert expected.patches.std() > 0.5 and found.patches.dtype == torch.float32
    assert torch.equal(found.grids, expected.grids) and found.grids.dtype == expected.grids.dtype
    assert found.tokens == expected.tokens


def test_a_processor_of_other_habits_is_asked_itself(policy):
    other = copy.copy(policy.backbone.images)
    other.do_rescale = False
    images = [picture(0)]
    assert torch.equal(cut_pixels(other, images).patches, read_pixels(other, images).patches)


def test_a_picture_of_the_wanted_size_is_the_very_same():
    image = picture(1)
    assert fit(image, SIZE) is image
    turned = fit(image.transpose(1, 0, 2), SIZE)
    assert turned.flags.c_contiguous and np.array_equal(turned, image.transpose(1, 0, 2))
    assert fit(image[:-2], SIZE).shape == image.shape and not fit(image[:-2], SIZE)[0].any()


def test_no_pictures_are_no_patches(policy):
    assert cut_pixels(policy.backbone.images, []).tokens == ()


def test_the_pictures_themselves_are_left_alone(policy):
    image = picture(3)
    before = image.copy()
    cut_pixels(policy.backbone.images, [image])
    np.testing.assert_array_equal(image, before)
