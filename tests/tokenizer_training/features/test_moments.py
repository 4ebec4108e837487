"""Which frames are looked at: those that get features, and an even sample of training ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tokenizer_training.features.index import DatasetIndex
from tokenizer_training.features.moments import Moments

INDEX = DatasetIndex("arm", "", 30.0, (12, 9, 14, 10), ("head",), 3, (0, 2, 3))


def test_a_teacher_that_is_not_fitted_looks_at_what_gets_features():
    moments = Moments(INDEX)
    for episode, length in enumerate(INDEX.lengths):
        assert moments.looked_at(episode).tolist() == list(range(0, length, 3))
        assert len(moments.fitted_on(episode)) == 0


@pytest.mark.parametrize("most", [2, 9, 16])
def test_the_sample_is_even_and_bounded(most):
    moments, firsts = Moments(INDEX, most), {0: 0, 2: 12, 3: 26}
    places = [firsts[e] + n for e in INDEX.train for n in moments.fitted_on(e).tolist()]
    assert len(places) == most and (places[0], places[-1]) == (0, 35)
    steps = np.diff(places)
    assert steps.max() - steps.min() <= 1
    assert len(moments.fitted_on(1)) == 0, "held out"


def test_a_large_sample_is_every_training_frame():
    moments = Moments(INDEX, 10_000)
    for episode in INDEX.train:
        assert moments.fitted_on(episode).tolist() == list(range(INDEX.lengths[episode]))


def test_no_frame_is_looked_at_twice():
    moments = Moments(replace(INDEX, stride=4), 9)
    for episode in range(4):
        both = {*moments.featured(episode).tolist(), *moments.fitted_on(episode).tolist()}
        assert moments.looked_at(episode).tolist() == sorted(both)
