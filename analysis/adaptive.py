"""Adaptive length: a tokenizer of ours that stops at the first prefix within a tolerance.

A code of varying length needs an end token: its vocabulary is one larger, and a sequence that
stops early emits it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.codecs import ABSENT, Decoded
from analysis.evalset import Batch
from analysis.rvq_codec import RvqCodec

NICE = np.array([step * 10.0**power for power in range(-7, 0) for step in (1, 2, 5)])


@dataclass(frozen=True)
class AdaptiveCodec:
    """A tokenizer at one tolerance.

    Attributes:
        base: The tokenizer, all tokens.
        tolerance: e, mean squared error of a chunk in the model's own space.
    """

    base: RvqCodec
    tolerance: float

    @property
    def name(self) -> str:
        return f"{self.base.name}~{self.tolerance:g}"

    @property
    def kind(self) -> str:
        return "rvq-adaptive" if self.base.kind == "rvq" else self.base.kind

    def encode(self, batch: Batch) -> np.ndarray:
        tokens = self.base.encode(batch)
        return self.cut(tokens, self.base.prefix_errors(tokens, batch))

    def cut(self, tokens: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """Stop [N, L] tokens at the first prefix whose error [N, L] is within the tolerance."""
        length = tokens.shape[1]
        within = errors <= self.tolerance
        kept = np.where(within.any(1), within.argmax(1) + 1, length)[:, None]
        position = np.arange(length)
        end = np.where(position == kept, self._end(length), ABSENT)
        return np.where(position < kept, tokens, end)

    def cut_pair(self, tokens_and_errors: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """`cut` of a pair."""
        return self.cut(*tokens_and_errors)

    def _end(self, length: int) -> np.ndarray:
        return self.base.sizes(length)

    def decode(self, tokens: np.ndarray, batch: Batch) -> Decoded:
        ended = np.cumsum(tokens == self._end(tokens.shape[1]), axis=1) > 0
        return self.base.decode(np.where(ended, ABSENT, tokens), batch)

    def sizes(self, length: int) -> np.ndarray:
        return self.base.sizes(length) + 1

    def codebooks(self, length: int) -> np.ndarray:
        return self.base.codebooks(length)

    def levels(self, length: int) -> np.ndarray:
        return self.base.levels(length)


def tolerances(errors: np.ndarray) -> list[float]:
    """Round tolerances that cut between 95 % and 5 % of the tokens of prefix errors [N, L]."""
    chosen = []
    for tolerance in NICE:
        within = errors <= tolerance
        kept = np.where(within.any(1), within.argmax(1) + 1, errors.shape[1]).mean()
        if 0.05 <= kept / errors.shape[1] <= 0.95:
            chosen.append(float(tolerance))
    return chosen
