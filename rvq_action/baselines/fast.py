"""FAST: discrete cosine transform, rounding, byte-pair encoding.

Written from the description in *FAST: Efficient Action Tokenization for Vision-Language-Action
Models* (arXiv 2501.09747) and the behaviour of the public `UniversalActionProcessor`.

A chunk [T, D] becomes one string: orthonormal DCT-II over time, `round(scale * coefficient)`,
flattened frequency by frequency (all channels' lowest first), each integer written as the
character `integer - min_token`. A BPE trained on such strings gives the tokens. Their number
varies from chunk to chunk, and most sequences of tokens spell a string of the wrong length, which
stands for no chunk at all.

Two alphabets are offered:

* `byte_level=True`, as published: the characters pass through a byte-level BPE (characters above
  127 take two bytes, and the language-model pre-tokenizer cuts the string at every change between
  letters, digits, blanks and the rest), whose alphabet holds the integers seen in fitting only.
* `byte_level=False`: the BPE works on the integers themselves. With `bound`, its alphabet holds
  every integer that a chunk within ±bound can produce, so that its own encodings always decode: a
  stronger rival than the published one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rvq_action.baselines.bpe import decode_text, new_bpe, train_bpe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NO_CHARACTER = sys.maxunicode + 1
"""What integers beyond the last character are written as, which is an error."""


@dataclass(frozen=True)
class DecodedChunks:
    """What a tokenizer that can fail makes of token sequences.

    Attributes:
        chunks: [N, T, D]; zeros where decoding failed.
        failed: [N] bool.
    """

    chunks: np.ndarray
    failed: np.ndarray


@dataclass(frozen=True)
class FastTokenizer:
    """A fitted FAST tokenizer. Build one with `FastTokenizer.fit`.

    Attributes:
        bpe: The byte-pair encoder over the characters.
        scale: Multiplies the DCT coefficients before rounding.
        min_token: The integer written as character 0.
        vocab_size: V, the size of the vocabulary that a token's bits are counted by.
    """

    bpe: Tokenizer
    scale: float
    min_token: int
    vocab_size: int

    @classmethod
    def fit(
        cls,
        chunks: Sequence[np.ndarray] | np.ndarray,
        scale: float = 10,
        vocab_size: int = 1024,
        byte_level: bool = True,
        bound: float | None = None,
    ) -> FastTokenizer:
        """Train the byte-pair encoding on chunks.

        Args:
            chunks: N chunks [T, D], normalised to about ±1.
            scale: Multiplies the DCT coefficients before rounding.
            vocab_size: V.
            byte_level: As published, or over the integers themselves.
            bound: The alphabet covers every integer of chunks within ±bound; by default the
                range seen in `chunks`, as published.

        Raises:
            ValueError: No chunks, or a vocabulary smaller than the alphabet.
        """
        if len(chunks) == 0:
            raise ValueError("FAST needs at least one chunk to fit on.")
        integers = _integers(chunks, scale)
        low, high = min(i.min() for i in integers), max(i.max() for i in integers)
        if bound is not None:
            longest = max(len(chunk) for chunk in chunks)
            limit = math.ceil(bound * math.sqrt(longest) * scale)
            low, high = min(low, -limit), max(high, limit)
        if high - low + 1 > vocab_size:
            raise ValueError(
                f"The rounded coefficients span {high - low + 1} integers at scale {scale}, more "
                f"than the vocabulary of {vocab_size}. Raise vocab_size or lower the scale."
            )
        texts = _texts(integers, int(low))
        bpe = train_bpe(new_bpe(byte_level), texts, vocab_size, alphabet=int(high - low + 1))
        return cls(bpe, float(scale), int(low), vocab_size)

    def encode(self, chunks: Sequence[np.ndarray] | np.ndarray) -> list[list[int]]:
        """Tokens of N chunks [T, D]. Integers below the alphabet are raised to its lowest."""
        texts = _texts(_integers(chunks, self.scale), self.min_token)
        return [encoding.ids for encoding in self.bpe.encode_batch(texts)]

    def decode(
        self, tokens: Sequence[Sequence[int]], horizon: int, dim: int, strict: bool = False
    ) -> np.ndarray:
        """Chunks [N, T, D] of N token sequences.

        Args:
            tokens: N sequences of token ids.
            horizon: T.
            dim: D.
            strict: Raise where a sequence spells no chunk, instead of returning zeros for it.

        Raises:
            ValueError: `strict`, and a sequence does not spell T x D integers.
        """
        decoded = self.decode_flagged(tokens, horizon, dim)
        if strict and decoded.failed.any():
            first = int(np.flatnonzero(decoded.failed)[0])
            raise ValueError(
                f"{int(decoded.failed.sum())} of {len(tokens)} token sequences are no chunk of "
                f"{horizon} x {dim} integers; the first is number {first}: {list(tokens[first])}."
            )
        return decoded.chunks

    def decode_flagged(
        self, tokens: Sequence[Sequence[int]], horizon: int, dim: int
    ) -> DecodedChunks:
        """Chunks [N, T, D], zeros where a sequence is malformed, and which those are."""
        from scipy.fft import idct

        coefficients = np.zeros((len(tokens), horizon * dim))
        failed = np.zeros(len(tokens), bool)
        for row, text in enumerate(decode_text(self.bpe, tokens)):
            failed[row] = len(text) != horizon * dim
            if not failed[row]:
                coefficients[row] = _characters(text) + self.min_token
        coefficients = coefficients.reshape(len(tokens), horizon, dim) / self.scale
        return DecodedChunks(idct(coefficients, axis=1, norm="ortho"), failed)

    @property
    def bits_per_token(self) -> float:
        """log2(V)."""
        return math.log2(self.vocab_size)


def _integers(chunks: Sequence[np.ndarray] | np.ndarray, scale: float) -> list[np.ndarray]:
    """[T * D] rounded coefficients of every chunk, frequency-major."""
    from scipy.fft import dct

    arrays = [np.asarray(chunk) for chunk in chunks]
    alike = len({(array.shape, array.dtype) for array in arrays}) == 1
    integers = []
    for batch in [np.stack(arrays)] if alike else [array[None] for array in arrays]:
        transformed: Any = dct(batch, axis=1, norm="ortho")
        integers += list(np.around(transformed * scale).astype(int).reshape(len(batch), -1))
    return integers


def _texts(integers: Sequence[np.ndarray], min_token: int) -> list[str]:
    """The string of every chunk, a character for each integer."""
    characters = (np.clip(row - min_token, 0, NO_CHARACTER).astype("<u4") for row in integers)
    return [row.tobytes().decode("utf-32-le", "surrogatepass") for row in characters]


def _characters(text: str) -> np.ndarray:
    """The numbers of a string's characters."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.int64)
