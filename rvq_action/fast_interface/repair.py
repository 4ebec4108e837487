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
from rvq_action.ragged import joined, padded
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
    ids, lengths = _without_end(*_side_by_side(tokens), vocabulary.end_id)
    total = vocabulary.tokens_per_chunk
    given = np.arange(total) < lengths[:, None]
    table = np.full(given.shape, FOREIGN)
    table[:, : ids.shape[1]] = ids[:, :total]
    codes, known = _understood(torch.from_numpy(table), vocabulary)
    kept = known & torch.from_numpy(given)
    flags = DecodeFlags(
        foreign=(given & ~known.numpy()).sum(-1),
        surplus=(lengths - total).clip(min=0),
        missing=(total - lengths).clip(min=0),
        held=(~kept.any(-1)).numpy(),
    )
    return vocabulary.from_order(codes.where(kept, ABSENT)), flags


def _side_by_side(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Ids [B, longest] and how many each sequence has, [B]."""
    batch = _batch(tokens)
    if isinstance(batch, Tensor):
        batch = batch.cpu().numpy()
    if isinstance(batch, np.ndarray) and batch.ndim == 2 and batch.dtype.kind == "i":
        return batch, np.full(len(batch), batch.shape[1])
    flat, lengths = joined([_integers(row, number) for number, row in enumerate(batch)])
    return padded(flat, lengths, FOREIGN), lengths


def _without_end(
    ids: np.ndarray, lengths: np.ndarray, end: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The same without the end tokens that close a sequence."""
    if end is None:
        return ids, lengths
    places = np.arange(ids.shape[1])
    others = (places < lengths[:, None]) & (ids != end)
    return ids, ((places + 1) * others).max(-1, initial=0)


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
    """One sequence as integers [n]; ids too large for int64 are foreign."""
    if isinstance(row, Tensor):
        row = row.cpu().numpy()
    if isinstance(row, np.ndarray) and row.ndim == 1 and row.dtype.kind == "i":
        return row
    try:
        ids = list(map(operator.index, row))
    except TypeError as error:
        raise ValueError(f"Sequence {number} must hold token ids only, got {row!r}.") from error
    try:
        return np.array(ids, dtype=np.int64)
    except OverflowError:
        return np.array([i if 0 <= i < LARGEST else FOREIGN for i in ids], dtype=np.int64)
