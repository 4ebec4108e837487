"""How long one chunk takes to encode and to decode, one chunk per call."""

from __future__ import annotations

import time

import numpy as np

from analysis.bootstrap import Estimate, interval
from analysis.codecs import Codec
from analysis.evalset import EvalSet

REPEATS = 7
CHUNKS = 16


def measure(codec: Codec, data: EvalSet) -> dict[str, Estimate]:
    """`encode_us` and `decode_us`: medians of 7 passes over 16 chunks, after a warm-up pass."""
    indices = np.unique(np.linspace(0, len(data.batch) - 1, CHUNKS).round().astype(int))
    batches = [data.batch.take(slice(i, i + 1)) for i in indices]
    tokens = [codec.encode(batch) for batch in batches]
    pairs = list(zip(tokens, batches, strict=True))

    def encode() -> None:
        for batch in batches:
            codec.encode(batch)

    def decode() -> None:
        for ids, batch in pairs:
            codec.decode(ids, batch)

    passes = {"encode_us": encode, "decode_us": decode}
    return {name: _time(run, len(batches)) for name, run in passes.items()}


def _time(run, chunks: int) -> Estimate:
    seconds = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    micros = np.array(seconds[1:]) / chunks * 1e6
    return interval(float(np.median(micros)), micros)
