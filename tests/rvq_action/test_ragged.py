"""Sequences of different length side by side."""

from __future__ import annotations

import numpy as np

from rvq_action.ragged import joined, padded


def test_every_sequence_has_a_row_of_its_own_filled_up_behind():
    rows = [np.array([1, 2, 3], np.uint8), np.array([]), np.array([4])]
    flat, lengths = joined(rows)
    assert (flat.tolist(), lengths.tolist()) == ([1, 2, 3, 4], [3, 0, 1])
    assert padded(flat, lengths, -1).tolist() == [[1, 2, 3], [-1, -1, -1], [4, -1, -1]]


def test_large_integers_of_several_kinds_stay_exact():
    large = 2**53 + 1
    flat, _ = joined([np.array([large], np.uint64), np.array([-large], np.int64)])
    assert flat.dtype == np.int64 and flat.tolist() == [large, -large]


def test_no_sequences_and_nothing_but_empty_ones_are_tables_too():
    assert padded(*joined([]), 0).shape == (0, 0)
    assert padded(*joined([np.array([])] * 2), 0).shape == (2, 0)
