"""One face for every tokenizer that is compared: windows -> token ids -> scored values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from analysis.evalset import Batch, EvalSet
from analysis.scored import LIMIT
from rvq_action.baselines.bins import BinTokenizer
from rvq_action.baselines.fast import FastTokenizer

ABSENT = -1
FAST_SCALES = (1.25, 2.5, 5, 10, 20)


@dataclass(frozen=True)
class Decoded:
    """Reconstructions of N windows.

    Attributes:
        scored: [N, T, C] in scored space, clipped as recordings are; zeros where decoding failed.
        failed: [N] bool.
        relative: [N, T, C] in relative model space, physical units, as the tokenizer meant it.
    """

    scored: np.ndarray
    failed: np.ndarray
    relative: np.ndarray


class Codec(Protocol):
    """A tokenizer under comparison."""

    @property
    def name(self) -> str:
        """Name of its row."""
        ...

    @property
    def kind(self) -> str:
        """One of SCORING's kinds."""
        ...

    def encode(self, batch: Batch) -> np.ndarray:
        """[N, L] token ids in the order they are emitted, -1 where a sequence has ended."""
        ...

    def decode(self, tokens: np.ndarray, batch: Batch) -> Decoded:
        """Reconstructions of [N, L] token ids; the batch supplies anchors, never actions."""
        ...

    def sizes(self, length: int) -> np.ndarray:
        """[L] codebook size V at every position."""
        ...

    def codebooks(self, length: int) -> np.ndarray:
        """[L] number of the codebook at every position."""
        ...

    def levels(self, length: int) -> np.ndarray:
        """[L] quantizer level at every position."""
        ...


class ScoredCodec:
    """A tokenizer that acts in scored space directly and has one codebook."""

    def __init__(self, name: str, kind: str, size: int, data: EvalSet) -> None:
        self.name, self.kind, self._size = name, kind, size
        self._space = data.space

    def sizes(self, length: int) -> np.ndarray:
        return np.full(length, self._size)

    def codebooks(self, length: int) -> np.ndarray:
        return np.zeros(length, int)

    def levels(self, length: int) -> np.ndarray:
        return np.zeros(length, int)

    def _decoded(self, scored: np.ndarray, failed: np.ndarray) -> Decoded:
        return Decoded(self._space.clip(scored), failed, self._space.inverse(scored))


class FastCodec(ScoredCodec):
    """FAST at one scale, fitted on the training windows.

    Args:
        data: Supplies the training windows.
        scale: FAST's scale.
        total: The stronger FAST, whose own encodings always decode.
        training: Chunks [T, C] in scored space to fit on instead; of other robots, say.
    """

    def __init__(
        self,
        data: EvalSet,
        scale: float,
        total: bool = False,
        training: Sequence[np.ndarray] | None = None,
    ) -> None:
        vocabulary = 2048 if scale > 10 else 1024
        kind = "fast-total" if total else "fast"
        super().__init__(f"{kind}@{scale:g}", kind, vocabulary, data)
        bound = LIMIT if total else None
        self.tokenizer = FastTokenizer.fit(
            data.training if training is None else training,
            scale,
            vocabulary,
            byte_level=not total,
            bound=bound,
        )

    def encode(self, batch: Batch) -> np.ndarray:
        return padded(self.tokenizer.encode(batch.scored))

    def decode(self, tokens: np.ndarray, batch: Batch) -> Decoded:
        sequences = [row[row != ABSENT] for row in tokens]
        decoded = self.tokenizer.decode_flagged(sequences, *batch.scored.shape[1:])
        return self._decoded(decoded.chunks, decoded.failed)


class BinsCodec(ScoredCodec):
    """256 uniform bins over the scored space."""

    def __init__(self, data: EvalSet, bins: int = 256) -> None:
        super().__init__(f"bins{bins}", "bins", bins, data)
        self.tokenizer = BinTokenizer(bins, -LIMIT, LIMIT)

    def encode(self, batch: Batch) -> np.ndarray:
        return self.tokenizer.encode(batch.scored)

    def decode(self, tokens: np.ndarray, batch: Batch) -> Decoded:
        scored = self.tokenizer.decode(tokens, *batch.scored.shape[1:])
        return self._decoded(scored, np.zeros(len(tokens), bool))


def padded(sequences: Sequence[Sequence[int]]) -> np.ndarray:
    """[N, longest] int64 with -1 after the end of each sequence."""
    longest = max(map(len, sequences), default=0)
    tokens = np.full((len(sequences), longest), ABSENT, np.int64)
    for row, sequence in zip(tokens, sequences, strict=True):
        row[: len(sequence)] = sequence
    return tokens


def bits_per_window(tokens: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """[N] sum over the emitted tokens of log2(V)."""
    return (tokens != ABSENT) @ np.log2(sizes)
