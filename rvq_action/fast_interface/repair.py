"""Token sequences of a language model -> codes, whatever they are: nothing is refused but flagged.

An id that is no token of its place stands for an absent code; the others keep their places. (To
take the nearest code instead, or to drop the deeper levels of the slot as well, leaves a larger
error.) Tokens after a whole code are cut off, those that are missing are absent. End tokens close a
sequence, one or many, and are no fault; one with anything else behind it is foreign to its place.
Where no code is left the robot is to hold.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rvq_action.placement import FOREIGN
from rvq_action.vocabulary import ABSENT, ActionVocabulary

LARGEST = 2**62
"""Ids beyond it are foreign to any vocabulary."""

Tokens = np.ndarray | Tensor | Sequence
"""Ids of several sequences, [B, n] or ragged; a flat one is a single sequence."""


@dataclass(frozen=True)
class DecodeFlags:
    """What had to be repaired, [B] each.

    Attributes:
        foreign: Ids that were no token of their place.
        surplus: Tokens after a whole code.
        missing: Tokens short of a whole code; no fault, but a coarser chunk.
        held: Whether nothing could be decoded, so that the robot is to hold.
    """

    foreign: np.ndarray
    surplus: np.ndarray
    missing: np.ndarray
    held: np.ndarray

    @property
    def repaired(self) -> np.ndarray:
        """bool [B], whether a sequence was anything but a code or the beginning of one."""
        return (self.foreign > 0) | (self.surplus > 0) | self.held


def repair(tokens: Tokens, vocabulary: ActionVocabulary) -> tuple[Tensor, DecodeFlags]:
    """Codes int64 [B, S, K] and what was repaired.

    Args:
        tokens: Ids of B sequences.
        vocabulary: With an end token where sequences may close with it.

    Raises:
        ValueError: There is something else than integers among them.
    """
    rows = [_integers(row, number) for number, row in enumerate(_batch(tokens))]
    rows = [_without_end(row, vocabulary.end_id) for row in rows]
    total = vocabulary.tokens_per_chunk
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    ids = torch.full((len(rows), total), FOREIGN)
    for row, values in enumerate(rows):
        ids[row, : len(values)] = torch.from_numpy(values[:total])
    given = torch.arange(total) < lengths[:, None]
    codes, known = _understood(ids, vocabulary)
    kept = known & given
    flags = DecodeFlags(
        foreign=(given & ~known).sum(-1).numpy(),
        surplus=(lengths - total).clamp(min=0).numpy(),
        missing=(total - lengths).clamp(min=0).numpy(),
        held=(~kept.any(-1)).numpy(),
    )
    return vocabulary.from_order(codes.where(kept, ABSENT)), flags


def _without_end(ids: np.ndarray, end: int | None) -> np.ndarray:
    """The ids [n] before the end tokens that close a sequence."""
    if end is None:
        return ids
    others = np.flatnonzero(ids != end)
    return ids[: others[-1] + 1] if len(others) else ids[:0]


def _understood(ids: Tensor, vocabulary: ActionVocabulary) -> tuple[Tensor, Tensor]:
    """Ids [B, S·K] -> codes in token order, and bool: whether an id is a token of its place."""
    words = vocabulary.placement.to_words(ids)
    levels = torch.tensor([level for _, level in vocabulary.order])
    codes = words - levels * vocabulary.codebook_size
    return codes, (words != FOREIGN) & (codes >= 0) & (codes < vocabulary.codebook_size)


def _batch(tokens: Tokens) -> Iterable:
    """The sequences; a flat one is a batch of one."""
    if isinstance(tokens, np.ndarray | Tensor):
        return tokens[None] if tokens.ndim == 1 else tokens
    if not isinstance(tokens, Iterable) or isinstance(tokens, str | bytes):
        raise ValueError(f"tokens must be sequences of token ids, got {tokens!r}.")
    rows = list(tokens)
    flat = any(isinstance(row, int) or getattr(row, "ndim", 1) == 0 for row in rows)
    return [rows] if flat else rows


def _integers(row: np.ndarray | Tensor | Iterable, number: int) -> np.ndarray:
    """One sequence as int64 [n]; ids too large for that are foreign."""
    if isinstance(row, Tensor):
        row = row.cpu().numpy()
    if isinstance(row, np.ndarray) and row.ndim == 1 and row.dtype.kind == "i":
        return row.astype(np.int64)
    try:
        ids = [operator.index(token) for token in row]
    except TypeError as error:
        raise ValueError(f"Sequence {number} must hold token ids only, got {row!r}.") from error
    return np.array([i if 0 <= i < LARGEST else FOREIGN for i in ids], dtype=np.int64)
