"""Sequences that differ in length, side by side in one table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def joined(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """B sequences of integers, [n_b] each -> all in a row, int64 [sum n_b], and lengths [B]."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    # Unsafe for the sake of empty lists, which numpy takes for floats.
    flat = np.concatenate([np.zeros(0, np.int64), *rows], dtype=np.int64, casting="unsafe")
    return flat, lengths


def padded(flat: np.ndarray, lengths: np.ndarray, value: int) -> np.ndarray:
    """What `joined` gives -> [B, longest], each sequence followed by `value`."""
    longest = int(lengths.max(initial=0))
    if len(flat) == len(lengths) * longest:
        return flat.reshape(len(lengths), longest)
    table = np.full((len(lengths), longest), value, dtype=flat.dtype)
    table[np.arange(longest) < lengths[:, None]] = flat
    return table
