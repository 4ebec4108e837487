"""Adaptive length: a tokenizer of ours that emits as few tokens as a tolerance allows.

A code of varying length needs an end token: its vocabulary is one larger, and a sequence that
stops early emits it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.codecs import ABSENT, Decoded
from analysis.evalset import Batch
from analysis.rvq_codec import BestCodes, RvqCodec

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
        return self.cut(self.base.best(batch))

    def cut(self, best: BestCodes) -> np.ndarray:
        """[N, L] the fewest tokens that are within the tolerance, and an end token after them."""
        lengths = shortest(best.errors, self.tolerance)
        tokens = self.base.of_length(best, lengths)
        position = np.arange(tokens.shape[1])
        return np.where(position == lengths[:, None], self._end(tokens.shape[1]), tokens)

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


def shortest(errors: np.ndarray, tolerance: float) -> np.ndarray:
    """[N] the first number of tokens whose error [N, L+1] is within a tolerance; else L."""
    within = errors <= tolerance
    return np.where(within.any(1), within.argmax(1), errors.shape[1] - 1)


def reached(errors: np.ndarray, tolerance: float) -> np.ndarray:
    """bool [N] whether any number of tokens, by its error [N, L+1], is within a tolerance.

    Where none is, `AdaptiveCodec` emits all tokens anyway.
    """
    return np.any(errors <= tolerance, axis=1)


def tolerances(errors: np.ndarray) -> list[float]:
    """Round tolerances that cut between 95 % and 5 % of the tokens, by their errors [N, L+1]."""
    kept = {e: shortest(errors, e).mean() / (errors.shape[1] - 1) for e in NICE.tolist()}
    return [tolerance for tolerance, share in kept.items() if 0.05 <= share <= 0.95]
