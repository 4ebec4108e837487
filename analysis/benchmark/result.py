"""What a benchmark found.

benchmark.json is `{"hardware": ..., "threads": n, "datasets": {dataset: {"bits": ..., "entries":
[...]}}}`, an entry per tokenizer, way, device and batch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One tokenizer asked in one way, at one size of batch.

    Attributes:
        tokenizer: Its name; FAST's with its scale.
        way: One of `runners.WAYS`, or `FAST`.
        device: `cpu` or `cuda`.
        batch: Chunks per call.
        encode_us: Median microseconds per chunk.
        decode_us: The same.
        encode_ratio: Median over the passes of the time over FAST's in the same pass.
        decode_ratio: The same.
        both_ratio: The same for encoding and decoding together.
        same_codes: Share of the chunks whose codes are those of `public` on the CPU; None for
            `adaptive` and `adaptive-ids`, whose codes are others. `processor` is not told the
            anchor: where networks know it, fewer are.
        error_ratio: Mean squared error of what is decoded, in scored space, over that of `public`
            on the CPU; None for `model`, which stays in model space.
    """

    tokenizer: str
    way: str
    device: str
    batch: int
    encode_us: float
    decode_us: float
    encode_ratio: float
    decode_ratio: float
    both_ratio: float
    same_codes: float | None
    error_ratio: float | None


@dataclass(frozen=True)
class DatasetBenchmark:
    """All entries of one dataset.

    Attributes:
        dataset: Its name.
        horizon: T.
        channels: How many channels FAST encodes.
        bits: Mean bits per chunk of every tokenizer, FAST at the scale chosen included.
        entries: By batch, then by tokenizer and way.
    """

    dataset: str
    horizon: int
    channels: int
    bits: dict[str, float]
    entries: list[Entry]


@dataclass(frozen=True)
class Benchmark:
    """The whole run.

    Attributes:
        hardware: Processor, graphics processor and versions, in words.
        threads: Of torch and of FAST's byte-pair encoder.
        datasets: One entry per dataset.
    """

    hardware: str
    threads: int
    datasets: list[DatasetBenchmark]
