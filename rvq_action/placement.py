"""Which token ids of a language model stand for the words of an action vocabulary.

A word is a number 0..size-1. Three places are usual: new ids behind the model's own, ids that the
model keeps in reserve, and rarely used ids at the end of its vocabulary, counted downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

FOREIGN = -1
"""The word of an id that is none."""


class GrowingTokenizer(Protocol):
    """What `added` needs of a Hugging Face tokenizer."""

    def add_tokens(self, new_tokens: list[str]) -> int: ...

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]: ...


@dataclass(frozen=True)
class Placement:
    """Word -> id and back, by arithmetic or by a table.

    Attributes:
        size: Number of words.
        first_id: Id of word 0.
        step: 1 where ids count upwards from there, -1 where downwards.
        table: The id of every word, where they follow no rule; empty where they do.
    """

    size: int
    first_id: int = 0
    step: int = 1
    table: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.step not in (1, -1):
            raise ValueError(f"step must be 1 (ids count upwards) or -1, got {self.step}.")
        if self.table and (len(self.table), self.table[0]) != (self.size, self.first_id):
            raise ValueError(
                f"A table of {len(self.table)} ids from {self.table[0]} on does not place "
                f"{self.size} words from id {self.first_id} on. Place them anew with `over`."
            )
        lowest = min(self.table or (self.first_id, self.first_id + self.step * (self.size - 1)))
        if lowest < 0:
            raise ValueError(
                f"{self.size} words do not fit: the last one would have id {lowest}. Start from a "
                f"higher id than {self.first_id}."
            )

    @property
    def ids(self) -> list[int]:
        """The id of every word, in order."""
        return list(self.table) or [self.first_id + self.step * w for w in range(self.size)]

    def to_ids(self, words: Tensor) -> Tensor:
        """Words int64 -> ids, any shape."""
        if self.table:
            return torch.tensor(self.table, device=words.device)[words]
        return self.first_id + self.step * words

    def to_words(self, ids: Tensor) -> Tensor:
        """Ids int64 -> words, any shape; `FOREIGN` where an id is none of this vocabulary."""
        if self.table:
            table, order = torch.tensor(self.table, device=ids.device).sort()
            nearest = torch.searchsorted(table, ids.contiguous()).clamp(max=self.size - 1)
            return torch.where(table[nearest] == ids, order[nearest], FOREIGN)
        words = (ids - self.first_id) * self.step
        return torch.where((words >= 0) & (words < self.size), words, FOREIGN)


def at_end(size: int, vocab_size: int, skip: int) -> Placement:
    """Word w has id `vocab_size - 1 - skip - w`.

    That is the arithmetic of openpi and LeRobot, which put action tokens over the end of
    PaliGemma's vocabulary and leave out its last 128 ids, because they are special.

    Raises:
        ValueError: Less room than words.
    """
    if skip < 0 or size + skip > vocab_size:
        raise ValueError(
            f"{size} words and {skip} ids to skip do not fit into a vocabulary of {vocab_size}. "
            "Use a smaller codebook, or `added`."
        )
    return Placement(size, vocab_size - 1 - skip, -1)


def over(size: int, reserved_ids: Sequence[int]) -> Placement:
    """Word w has the w-th of the reserved ids; the rest stays unused.

    Raises:
        ValueError: Too few ids, or one twice.
    """
    ids = tuple(int(i) for i in reserved_ids[:size])
    if len(ids) < size:
        raise ValueError(
            f"{size} words need as many reserved ids, got {len(ids)}. Use a smaller codebook, or "
            "`added`."
        )
    twice = sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < size else []
    if twice:
        raise ValueError(f"Reserved ids are given twice: {twice[:5]}. Give every id once.")
    return Placement(size, ids[0], 1, ids)


def added(words: list[str], tokenizer: GrowingTokenizer | int) -> Placement:
    """New ids behind those that a model has; an embedding has to grow by as many rows.

    Args:
        words: The name of every word.
        tokenizer: A Hugging Face tokenizer, which gets these tokens (those of an earlier call are
            found again), or the number of ids that the model has.
    """
    if isinstance(tokenizer, int):
        return Placement(len(words), tokenizer)
    tokenizer.add_tokens(words)
    ids = tokenizer.convert_tokens_to_ids(words)
    if ids == list(range(ids[0], ids[0] + len(ids))):
        return Placement(len(words), ids[0])
    return over(len(words), ids)
