"""All sequences are repaired at once, and as each would be by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rvq_action import ActionVocabulary
from rvq_action.fast_interface.repair import repair
from rvq_action.vocabulary import ABSENT
from tests.rvq_action.ragged_ids import KINDS, K, S, V, random_sequence, vocabulary


def repair_plainly(words: ActionVocabulary, row: list[int]) -> tuple[list, tuple]:
    """Codes [S][K] of one sequence, token by token; its flags in their order."""
    row, foreign = list(row), 0
    while row and row[-1] == words.end_id:
        row.pop()
    codes = [[ABSENT] * K for _ in range(S)]
    for (slot, level), token in zip(words.order, row, strict=False):
        if token in words.ids[level * V : (level + 1) * V]:
            codes[slot][level] = words.ids.index(token) - level * V
        else:
            foreign += 1
    held = all(code == ABSENT for slot in codes for code in slot)
    return codes, (foreign, max(0, len(row) - S * K), max(0, S * K - len(row)), held)


def both(tokens, words: ActionVocabulary) -> tuple[list, list]:
    codes, flags = repair(tokens, words)
    assert codes.dtype == torch.int64
    columns = (flags.foreign, flags.surplus, flags.missing, flags.held)
    return codes.tolist(), [
        tuple(row) for row in zip(*map(np.ndarray.tolist, columns), strict=True)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_together_are_repaired_as_each_is(kind):
    words, rng = vocabulary(*kind), np.random.default_rng(0)
    rows = [[], *(random_sequence(words, rng, int(rng.integers(0, 5))) for _ in range(300)), []]
    codes, flags = both(rows, words)
    assert list(zip(codes, flags, strict=True)) == [repair_plainly(words, row) for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_ids_is_repaired_as_its_rows_are(kind):
    words, rng = vocabulary(*kind), np.random.default_rng(1)
    for width in (0, 4, S * K, S * K + 3):
        table = rng.choice([-1, 3, 10**12, *words.ids], (50, width))
        expected = both(table.tolist(), words)
        for tokens in (table, torch.from_numpy(table), list(table), tuple(map(tuple, table))):
            assert both(tokens, words) == expected
        assert expected[1] == [repair_plainly(words, row)[1] for row in table.tolist()]


def test_whatever_counts_as_an_integer_is_an_id_and_what_is_too_large_is_foreign():
    words = vocabulary("upwards", "level_major", True)
    rows = [[100, np.int32(101), torch.tensor(102)], iter([100, True]), range(100, 103)]
    rows += [[100, 2**63, 10**30], np.array([100, 2**64 - 1], np.uint64), np.array([])]
    assert repair(rows, words)[1].foreign.tolist() == [0, 1, 0, 2, 1, 0]


@pytest.mark.parametrize("row", [[100.0], ["100"], [None], [[100]], [100, [101, 102]], "100", 1.5])
def test_anything_but_integers_is_refused(row):
    words = vocabulary("upwards", "level_major", True)
    with pytest.raises(ValueError, match="Sequence 1 must hold token ids only"):
        repair([[100], row], words)


def test_no_sequences_are_a_batch():
    codes, flags = repair([], vocabulary("upwards", "level_major", True))
    assert codes.shape == (0, S, K) and flags.repaired.shape == (0,)
