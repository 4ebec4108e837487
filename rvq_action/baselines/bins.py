"""Uniform binning: one token per channel and frame, the tokenizer of RT-2 and OpenVLA."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BinTokenizer:
    """`bins` equal intervals between `low` and `high`; a value decodes to its bin's middle.

    Attributes:
        bins: V.
        low: Lower edge of the first bin; values below fall into it.
        high: Upper edge of the last bin; values above fall into it.
    """

    bins: int = 256
    low: float = -1.5
    high: float = 1.5

    def encode(self, chunks: np.ndarray) -> np.ndarray:
        """[N, T, D] values -> int64 [N, T * D] bins, frame by frame.

        Raises:
            ValueError: A value is NaN or infinite.
        """
        if not np.isfinite(chunks).all():
            raise ValueError("Cannot bin NaN or infinite values; repair or drop those chunks.")
        position = (np.asarray(chunks) - self.low) / (self.high - self.low)
        bins = np.clip(np.floor(position * self.bins), 0, self.bins - 1)
        return bins.astype(np.int64).reshape(len(chunks), -1)

    def decode(self, tokens: np.ndarray, horizon: int, dim: int) -> np.ndarray:
        """Int [N, T * D] bins -> [N, T, D] values.

        Raises:
            ValueError: A token is no bin, or a sequence is not T * D long.
        """
        tokens = np.asarray(tokens)
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self.bins):
            raise ValueError(
                f"Tokens lie in 0..{self.bins - 1}, got {tokens.min()}..{tokens.max()}."
            )
        if tokens.shape[-1] != horizon * dim:
            raise ValueError(
                f"A chunk of {horizon} x {dim} takes {horizon * dim} tokens, got "
                f"{tokens.shape[-1]}."
            )
        values = (tokens + 0.5) / self.bins * (self.high - self.low) + self.low
        return values.reshape(-1, horizon, dim)

    @property
    def bits_per_token(self) -> float:
        """log2(V)."""
        return math.log2(self.bins)
