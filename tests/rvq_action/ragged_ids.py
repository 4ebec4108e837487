"""Vocabularies of every kind and random sequences of ids for them."""

from __future__ import annotations

from itertools import product

import numpy as np

from rvq_action import ActionVocabulary

S, K, V = 3, 2, 10
PLACES = {
    "upwards": lambda words: words,
    "downwards": lambda words: words.at_end(400),
    "scattered": lambda words: words.over([7, 900, 31, *range(400, 600), 5]),
}
KINDS = list(product(PLACES, ("level_major", "slot_major"), (False, True)))
"""Where the ids are, the order of the tokens, whether there is an end token."""


def vocabulary(place: str, order: str, end_token: bool) -> ActionVocabulary:
    return PLACES[place](ActionVocabulary(S, K, V, order, 100, end_token))


def random_sequence(words: ActionVocabulary, rng: np.random.Generator, faults: int) -> list[int]:
    """Any length from 0 on, perhaps closed and padded, with so many accidents."""
    length = int(rng.integers(0, S * K + 1))
    levels = [level for _, level in words.order[:length]]
    row = [words.ids[level * V + rng.integers(V)] for level in levels]
    if words.end_id is not None:
        row += [words.end_id] * int(rng.integers(0, 4))
    for _ in range(faults):
        at = int(rng.integers(0, len(row) + 1))
        row[at : at + int(rng.integers(2))] = [int(rng.choice([-1, 0, 10**12, *words.ids]))]
    return row
