"""Ragged sequences are read all at once, and as each would be read by itself."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from rvq_action import ActionVocabulary
from rvq_action.vocabulary import ABSENT
from tests.rvq_action.ragged_ids import KINDS, K, S, V, random_sequence, vocabulary


def read_plainly(words: ActionVocabulary, row: list[int]) -> tuple[list, int | None]:
    """Codes [S][K] of one sequence, token by token; the position of the first fault, if any."""
    codes = [[ABSENT] * K for _ in range(S)]
    ended = False
    for position, token in enumerate(row):
        ended |= token == words.end_id
        if token == words.end_id:
            continue
        if ended or position >= S * K:
            return codes, position
        slot, level = words.order[position]
        if token not in words.ids[level * V : (level + 1) * V]:
            return codes, position
        codes[slot][level] = words.ids.index(token) - level * V
    return codes, None


def fault(words: ActionVocabulary, ids: list[list[int]] | torch.Tensor) -> str:
    with pytest.raises(ValueError) as caught:
        words.to_codes(ids)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_together_give_the_codes_that_each_gives(kind):
    words, rng = vocabulary(*kind), np.random.default_rng(0)
    rows = [[], *(random_sequence(words, rng, faults=0) for _ in range(200)), []]
    codes = words.to_codes(rows)
    assert codes.dtype == torch.int64
    assert codes.tolist() == [read_plainly(words, row)[0] for row in rows]
    for row, read in zip(rows, codes, strict=True):
        assert torch.equal(words.to_codes(torch.tensor([row], dtype=torch.int64))[0], read)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_among_many_sequences_is_told_as_if_it_were_alone(kind):
    words, rng = vocabulary(*kind), np.random.default_rng(1)
    sound = [random_sequence(words, rng, faults=0) for _ in range(3)]
    faulty = 0
    for _ in range(200):
        row = random_sequence(words, rng, faults=1)
        codes, position = read_plainly(words, row)
        if position is None:
            assert words.to_codes([*sound, row])[-1].tolist() == codes
            continue
        faulty += 1
        said = fault(words, [*sound, row, [-5]])
        assert said == fault(words, torch.tensor([row]))
        if "n <=" not in said:
            assert re.match(rf"Id {row[position]} at position {position} ", said)
    assert faulty > 50


def test_the_first_faulty_sequence_is_the_one_told_of():
    words = vocabulary("upwards", "level_major", False)
    assert "Id 99 at position 0" in fault(words, [[100], [99], [1.5], [98]])
    assert "Sequence 1 must hold" in fault(words, [[100], [1.5], [99]])
    assert "[1, 7]" in fault(words, [[100], [100] * 7, [99]])


def test_no_sequences_and_nothing_but_empty_ones_are_batches():
    words = vocabulary("upwards", "level_major", True)
    assert words.to_codes([]).shape == (0, S, K)
    assert (words.to_codes([[], []]) == ABSENT).all()
