"""How long one chunk takes to encode and to decode, one chunk per call, all tokenizers in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.benchmark.race import Runner, Times, race
from analysis.bootstrap import Estimate, interval
from analysis.codecs import Codec
from analysis.evalset import Batch, EvalSet

CHUNKS = 16


def measure(codecs: Sequence[Codec], data: EvalSet) -> list[dict[str, Estimate]]:
    """`encode_us` and `decode_us` of each: medians over passes in which every codec has its turn.

    Args:
        codecs: What is timed.
        data: Sixteen of its held-out windows, evenly spread, are a pass.
    """
    indices = np.unique(np.linspace(0, len(data.batch) - 1, CHUNKS).round().astype(int))
    batches = [data.batch.take(slice(i, i + 1)) for i in indices]
    found = race([_runner(codec, batches) for codec in codecs], len(batches), len(batches))
    return [_estimates(times) for times in found]


def _runner(codec: Codec, batches: Sequence[Batch]) -> Runner:
    return Runner(
        lambda number: codec.encode(batches[number]),
        lambda number, tokens: codec.decode(tokens, batches[number]),
        "cpu",
    )


def _estimates(times: Times) -> dict[str, Estimate]:
    passes = {"encode_us": times.encode, "decode_us": times.decode}
    return {name: interval(float(np.median(us)), us) for name, us in passes.items()}
