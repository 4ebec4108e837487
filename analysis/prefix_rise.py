"""Whether a token more ever makes the held-out error larger: looked at after every single token.

The tables have rows for some prefixes of a long code only. The lengths between them are decoded
here for their error alone, which takes one decoding of the held-out windows each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.evalset import EvalSet
from analysis.rows import Row
from analysis.rvq_codec import RvqCodec


def largest_rise(codec: RvqCodec, tokens: np.ndarray, data: EvalSet, rows: Sequence[Row]) -> float:
    """Largest relative rise of the MSE from a prefix to the next longer one; 0 if it never rises.

    Args:
        codec: The tokenizer, of L tokens.
        tokens: [N, L] its token ids of the scored windows.
        data: The held-out windows.
        rows: Of its prefixes, as many as there are: their errors are not measured again.
    """
    known = {row.prefix or codec.length: row.metrics["mse"] for row in rows}
    lengths = range(1, codec.length + 1)
    mse = np.array([known.get(k) or _mse(codec, tokens[:, :k], data) for k in lengths])
    return float(max(0, *(mse[1:] / mse[:-1] - 1)))


def _mse(codec: RvqCodec, tokens: np.ndarray, data: EvalSet) -> float:
    """In scored space, as in the rows."""
    return float(np.square(codec.decode(tokens, data.batch).scored - data.batch.scored).mean())
