"""FrameStore: pictures that are held are those that would be decoded."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tests.vla.data.conftest import STILL
from tests.vla.data.test_stream import assert_equal
from vla.data.frames import FrameStore
from vla.data.settings import DataSettings
from vla.data.stream import SampleStream


@pytest.fixture
def stores(policy, recordings) -> list[FrameStore]:
    """One that is to be held, and one that is not."""
    settings = DataSettings((str(recordings),), workers=0, frame_memory=0.0)
    return [SampleStream.open(policy.samples, settings).robots[0].frames for _ in range(2)]


def test_held_pictures_are_those_that_are_decoded(stores):
    held, decoded = stores
    held.hold()
    assert sum(array.nbytes for array in held._held.values()) == held.bytes
    for episode, times in held.times.items():
        for frame in (0, len(times) - 1):
            pairs = zip(*(s.at(episode, frame).items() for s in stores), strict=True)
            for (camera, one), (other_camera, other) in pairs:
                assert camera == other_camera
                np.testing.assert_array_equal(one, other)


def test_memory_changes_nothing_but_the_time(policy, recordings, caplog):
    caplog.set_level(logging.INFO)
    settings = {"batch_size": 6, "workers": 0}
    none = DataSettings((str(recordings),), frame_memory=0.0, **settings)
    batches = [
        SampleStream.open(policy.samples, s).batch(2)
        for s in (none, DataSettings((str(recordings),), **settings))
    ]
    assert_equal(*batches)
    assert caplog.text.count("decoded as they are needed") == 1


def test_memory_that_is_none_is_refused(recordings):
    with pytest.raises(ValueError, match="frame_memory must be 0 GB or more, got -1"):
        DataSettings((str(recordings),), frame_memory=-1.0, **STILL)
