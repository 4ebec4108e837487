"""Codes <-> token ids in a language model's vocabulary: integer arithmetic and nothing else.

The *word* of a code is `level · V + code`; the position of a token in the sequence tells its
slot. With an end token (`with_end`) there is one word more, K · V. The id of word w is
`first_id + w`, unless `at_end`, `over` or `added` places the vocabulary elsewhere.

*How a sequence ends.* A whole code has S·K tokens and needs no end. A shorter one is closed by the
end token, where the vocabulary has one; whatever stops without it is a prefix all the same. After
an end token only further ones may follow, so that it also serves for padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, overload

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from rvq_action import placement
from rvq_action.placement import GrowingTokenizer, Placement
from rvq_action.ragged import joined, padded

ABSENT = -1
"""A code that is not there."""

Array = TypeVar("Array", np.ndarray, Tensor)
"""numpy in, numpy out; torch in, torch out."""

Sequences = Sequence[Sequence[int]]
"""Token ids of chunks that differ in length."""


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
        end_token: Whether there is an end token, the word after the last level's.
        step: 1 where ids count upwards, -1 where downwards.
        table: The id of every word, where they follow no rule.
    """

    num_slots: int
    num_levels: int
    codebook_size: int
    token_order: str = "level_major"
    first_id: int = 0
    end_token: bool = False
    step: int = 1
    table: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        assert self.placement.size == self.size

    @property
    def size(self) -> int:
        """Number of ids used."""
        return self.num_levels * self.codebook_size + self.end_token

    @property
    def tokens_per_chunk(self) -> int:
        """S·K, tokens of a whole code."""
        return self.num_slots * self.num_levels

    @property
    def placement(self) -> Placement:
        """Which id stands for which word."""
        return Placement(self.size, self.first_id, self.step, self.table)

    @property
    def ids(self) -> list[int]:
        """All ids used, in the order of their words: an embedding's rows to learn."""
        return self.placement.ids

    @property
    def end_id(self) -> int | None:
        """Id of the end token, None where there is none."""
        last = self.placement.to_ids(torch.tensor(self.size - 1))
        return int(last) if self.end_token else None

    @property
    def names(self) -> list[str]:
        """A name for every word: `<action_0>` ..., `<action_end>`."""
        names = [f"<action_{word}>" for word in range(self.num_levels * self.codebook_size)]
        return [*names, "<action_end>"] if self.end_token else names

    def with_end(self) -> ActionVocabulary:
        """The same with an end token; to be placed afterwards, for it needs an id more."""
        return replace(self, end_token=True)

    def at_end(self, vocab_size: int, skip: int = 128) -> ActionVocabulary:
        """Over the end of a vocabulary, downwards: word w has id `vocab_size - 1 - skip - w`.

        PaliGemma as openpi and LeRobot use it: `at_end(257152)`.
        """
        return self._placed(placement.at_end(self.size, vocab_size, skip))

    def over(self, reserved_ids: Sequence[int]) -> ActionVocabulary:
        """Over ids that a language model keeps in reserve, the first ones first."""
        return self._placed(placement.over(self.size, reserved_ids))

    def added(self, tokenizer: GrowingTokenizer | int) -> ActionVocabulary:
        """Behind the ids of a Hugging Face tokenizer, which gets `names`, or of so many ids.

        The model grows along: `model.resize_token_embeddings(len(tokenizer))`.
        """
        return self._placed(placement.added(self.names, tokenizer))

    def _placed(self, place: Placement) -> ActionVocabulary:
        return replace(self, first_id=place.first_id, step=place.step, table=place.table)

    def of_slots(self, num_slots: int) -> ActionVocabulary:
        """The same ids for codes of fewer slots, as robots with fewer channels have them."""
        return replace(self, num_slots=num_slots)

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

        With an end token n is one more, unless the codes are whole.

        Raises:
            ValueError: A code is no code, a gap precedes a present code, or the chunks hold
                different numbers of codes (then `to_sequences` takes them).
        """
        if isinstance(codes, np.ndarray):
            return self.to_ids(torch.tensor(codes)).numpy()
        ids, lengths = self._emit(codes)
        if len(lengths.unique()) > 1:
            raise ValueError(
                f"The chunks hold different numbers of codes ({sorted(set(lengths.tolist()))}); "
                "use to_sequences, or call to_ids chunk by chunk."
            )
        return ids[:, : int(lengths[0]) if len(lengths) else self.tokens_per_chunk]

    def to_sequences(self, codes: np.ndarray | Tensor) -> list[list[int]]:
        """Codes int64 [B, S, K] -> ids of every chunk, as many as it has codes.

        With an end token a sequence closes with it, unless its code is whole.

        Raises:
            ValueError: A code is no code, or a gap precedes a present code.
        """
        ids, lengths = self._emit(torch.as_tensor(codes))
        rows = zip(ids.tolist(), lengths.tolist(), strict=True)
        return [row[:length] for row, length in rows]

    @overload
    def to_codes(self, ids: Array) -> Array: ...

    @overload
    def to_codes(self, ids: Sequences) -> Tensor: ...

    def to_codes(self, ids: np.ndarray | Tensor | Sequences) -> np.ndarray | Tensor:
        """Ids int64 [B, n] or ragged lists, n <= S·K (+ end) -> codes int64 [B, S, K].

        Codes that no id stands for are absent. Lists give a torch tensor.

        Raises:
            ValueError: An id is no action token, one of another level than its position's, or
                follows the end.
        """
        if isinstance(ids, np.ndarray):
            return self._read(torch.tensor(ids)).numpy()
        return self._read(ids) if isinstance(ids, Tensor) else self._read_ragged(ids)

    def _emit(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Ids [B, S·K] of codes [B, S, k] and how many of them count; the end fills the rest."""
        sequence = self.in_order(self._checked(codes))
        if bool((sequence < ABSENT).any() or (sequence >= self.codebook_size).any()):
            raise ValueError(
                f"Codes must be {ABSENT} (absent) or 0..{self.codebook_size - 1}; got "
                f"{int(sequence.min())}..{int(sequence.max())}."
            )
        present = sequence != ABSENT
        lengths = present.sum(-1)
        if bool((present[:, 1:] & ~present[:, :-1]).any()):
            raise ValueError("Only a prefix of the token order can be emitted; a code is missing.")
        words = (sequence + self._offsets(codes.device)).where(present, self.size - 1)
        if self.end_token:
            lengths = (lengths + 1).clamp(max=self.tokens_per_chunk)
        return self.placement.to_ids(words), lengths

    def _read(self, ids: Tensor) -> Tensor:
        total = self.tokens_per_chunk
        too_long = ids.ndim == 2 and ids.shape[1] > total and not self.end_token
        if ids.is_floating_point() or ids.ndim != 2 or too_long:
            raise ValueError(
                f"ids must be integers [B, n] with n <= {total}, got {ids.dtype} {list(ids.shape)}."
                f"{batch_hint('ids', ids, 2)}"
            )
        codes, foreign = self._understand(self.placement.to_words(ids.long()))
        if bool(foreign.any()):
            row, column = foreign.nonzero()[0].tolist()
            ended = self.end_id in ids[row, :column].tolist()
            raise ValueError(self._foreign(int(ids[row, column]), column, ended))
        return codes

    def _read_ragged(self, sequences: Sequences) -> Tensor:
        rows: list[np.ndarray] = []
        for number, sequence in enumerate(sequences):
            ids = np.asarray(sequence)
            if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
                self._read_rows(rows)  # The first fault is the one to tell of.
                raise ValueError(f"Sequence {number} must hold token ids only, got {sequence!r}.")
            rows.append(ids)
        return self._read_rows(rows)

    def _read_rows(self, rows: list[np.ndarray]) -> Tensor:
        """Codes [B, S, K] of sequences [n], all at once; one by one only to tell of a fault."""
        flat, lengths = joined(rows)
        words = self.placement.to_words(torch.from_numpy(flat)).numpy()
        codes, foreign = self._understand(torch.from_numpy(padded(words, lengths, self._end_word)))
        for ids in rows if bool(foreign.any()) else ():
            self._read(torch.from_numpy(ids.astype(np.int64))[None])
        return codes

    @property
    def _end_word(self) -> int:
        """The word that ends a sequence, whether an id stands for it or not."""
        return self.num_levels * self.codebook_size

    def _understand(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Words [B, n] -> codes [B, S, K], and bool [B, n]: whether one has no business there."""
        total, given = self.tokens_per_chunk, words.shape[1]
        is_end = words == self._end_word
        ended = is_end.cumsum(-1) > 0
        offsets = pad(self._offsets(words.device), (0, max(0, given - total)), value=self.size)
        codes = (words - offsets[:given]).where(words != placement.FOREIGN, ABSENT)
        foreign = (codes < 0) | (codes >= self.codebook_size)
        codes = codes.masked_fill(ended, ABSENT)[:, :total]
        codes = self.from_order(pad(codes, (0, total - codes.shape[1]), value=ABSENT))
        return codes, foreign.where(~ended, ~is_end)

    def _foreign(self, token: int, position: int, ended: bool) -> str:
        """What is wrong with an id, and what would have been right."""
        if ended:
            return f"Id {token} at position {position} follows the end token {self.end_id}."
        end = f", or the end token {self.end_id}" if self.end_token else ""
        if position >= self.tokens_per_chunk:
            return (
                f"Id {token} at position {position} follows a whole code of "
                f"{self.tokens_per_chunk} tokens; nothing may stand there{end}."
            )
        slot, level = self.order[position]
        ids = self.ids[level * self.codebook_size : (level + 1) * self.codebook_size]
        known = f"{min(ids)}..{max(ids)}" if not self.table else f"{ids[:3]} and so on"
        return (
            f"Id {token} at position {position} is not a token of slot {slot}, level {level}, "
            f"whose ids are {known}{end}."
        )

    def _checked(self, codes: Tensor) -> Tensor:
        slots, levels = self.num_slots, self.num_levels
        fits = codes.ndim == 3 and codes.shape[1] == slots and codes.shape[2] <= levels
        if codes.is_floating_point() or not fits:
            raise ValueError(
                f"codes must be integers [B, {slots}, k] with k <= {levels}, got {codes.dtype} "
                f"{list(codes.shape)}.{batch_hint('codes', codes, 3)} A robot with fewer slots "
                "has a vocabulary of its own: `tokenizer.vocabulary_of(embodiment)`."
            )
        return pad(codes.long(), (0, levels - codes.shape[2]), value=ABSENT)

    def _offsets(self, device: torch.device) -> Tensor:
        """The word of code 0 at every position."""
        levels = torch.tensor([level for _, level in self.order], device=device)
        return levels * self.codebook_size
