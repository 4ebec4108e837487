"""Codes <-> token ids in a language model's vocabulary: integer arithmetic and nothing else.

`id = first_id + level · V + code`. The position of a token in the sequence tells its slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

ABSENT = -1
"""A code that is not there."""

Array = TypeVar("Array", np.ndarray, Tensor)
"""numpy in, numpy out; torch in, torch out."""


def batch_hint(name: str, value: Tensor, ndim: int) -> str:
    """For an error about a shape: how to give a single chunk, where that may be what was meant."""
    return f" One chunk is a batch of one: {name}[None]." if value.ndim == ndim - 1 else ""


@dataclass(frozen=True)
class ActionVocabulary:
    """Where a tokenizer's codes live among a language model's token ids.

    Attributes:
        num_slots: S.
        num_levels: K.
        codebook_size: V.
        token_order: `level_major` or `slot_major`.
        first_id: Id of level 0, code 0.
    """

    num_slots: int
    num_levels: int
    codebook_size: int
    token_order: str = "level_major"
    first_id: int = 0

    @property
    def size(self) -> int:
        """Number of ids used."""
        return self.num_levels * self.codebook_size

    @property
    def order(self) -> list[tuple[int, int]]:
        """(slot, level) of every token, in sequence."""
        slots, levels = range(self.num_slots), range(self.num_levels)
        if self.token_order == "slot_major":
            return [(s, k) for s in slots for k in levels]
        return [(s, k) for k in levels for s in slots]

    def in_order(self, codes: Tensor) -> Tensor:
        """Codes [..., S, K] -> [..., S·K] in token order."""
        if self.token_order == "level_major":
            codes = codes.transpose(-1, -2)
        return codes.flatten(-2)

    def from_order(self, sequence: Tensor) -> Tensor:
        """Inverse of `in_order`."""
        if self.token_order == "level_major":
            return sequence.unflatten(-1, (self.num_levels, self.num_slots)).transpose(-1, -2)
        return sequence.unflatten(-1, (self.num_slots, self.num_levels))

    def to_ids(self, codes: Array) -> Array:
        """Codes int64 [B, S, K] -> ids int64 [B, n], n the number of codes present.

        Raises:
            ValueError: A code is no code, a gap precedes a present code, or the chunks hold
                different numbers of codes (then take them one by one).
        """
        if isinstance(codes, np.ndarray):
            return self.to_ids(torch.tensor(codes)).numpy()
        sequence = self.in_order(self._checked(codes))
        if bool((sequence < ABSENT).any() or (sequence >= self.codebook_size).any()):
            raise ValueError(
                f"Codes must be {ABSENT} (absent) or 0..{self.codebook_size - 1}; got "
                f"{int(sequence.min())}..{int(sequence.max())}."
            )
        lengths = (sequence != ABSENT).sum(-1)
        if len(lengths.unique()) > 1:
            raise ValueError(
                f"The chunks hold different numbers of codes ({sorted(set(lengths.tolist()))}); "
                "call to_ids chunk by chunk."
            )
        length = int(lengths[0]) if len(lengths) else sequence.shape[-1]
        if bool((sequence[:, :length] == ABSENT).any()):
            raise ValueError("Only a prefix of the token order can be emitted; a code is missing.")
        return sequence[:, :length] + self._offsets(codes.device)[:length]

    def to_codes(self, ids: Array) -> Array:
        """Ids int64 [B, n], n <= S·K -> codes int64 [B, S, K], the rest absent.

        Raises:
            ValueError: An id is no action token, or one of another level than its position's.
        """
        if isinstance(ids, np.ndarray):
            return self.to_codes(torch.tensor(ids)).numpy()
        total = self.num_slots * self.num_levels
        if ids.is_floating_point() or ids.ndim != 2 or ids.shape[1] > total:
            raise ValueError(
                f"ids must be integers [B, n] with n <= {total}, got {ids.dtype} {list(ids.shape)}."
                f"{batch_hint('ids', ids, 2)}"
            )
        codes = ids - self._offsets(ids.device)[: ids.shape[1]]
        foreign = (codes < 0) | (codes >= self.codebook_size)
        if bool(foreign.any()):
            row, column = foreign.nonzero()[0].tolist()
            slot, level = self.order[column]
            first = self.first_id + level * self.codebook_size
            raise ValueError(
                f"Id {int(ids[row, column])} at position {column} is not a token of slot {slot}, "
                f"level {level}, whose ids are {first}..{first + self.codebook_size - 1}."
            )
        absent = codes.new_full((len(codes), total - codes.shape[1]), ABSENT)
        return self.from_order(torch.cat([codes, absent], dim=-1))

    def _checked(self, codes: Tensor) -> Tensor:
        slots, levels = self.num_slots, self.num_levels
        fits = codes.ndim == 3 and codes.shape[1] == slots and codes.shape[2] <= levels
        if codes.is_floating_point() or not fits:
            raise ValueError(
                f"codes must be integers [B, {slots}, k] with k <= {levels}, got {codes.dtype} "
                f"{list(codes.shape)}.{batch_hint('codes', codes, 3)}"
            )
        return pad(codes.long(), (0, levels - codes.shape[2]), value=ABSENT)

    def _offsets(self, device: torch.device) -> Tensor:
        levels = torch.tensor([level for _, level in self.order], device=device)
        return self.first_id + levels * self.codebook_size
