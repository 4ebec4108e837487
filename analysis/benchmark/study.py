"""How long tokenizers take to encode and to decode, beside FAST, in one run on one machine."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from analysis.benchmark.race import CALLS, PASSES, Runner, Times, race
from analysis.benchmark.result import Benchmark, DatasetBenchmark, Entry
from analysis.benchmark.runners import (
    ADAPTIVE,
    ADAPTIVE_IDS,
    BF16,
    COMPILED,
    EXPORTED,
    IDS,
    MODEL,
    PROCESSOR,
    PUBLIC,
    Robot,
    fast_runner,
    runner,
)
from analysis.codecs import FAST_SCALES, FastCodec, bits_per_window
from analysis.evalset import Batch, EvalSet, load_eval_sets
from analysis.loading import LoadedTokenizer, load_tokenizers, splits_of
from rvq_action.housekeeping.machine import hardware
from rvq_action.tokenizer import ActionTokenizer

BATCHES = (1, 64, 4096)
FAST = "FAST"
EXPORTING = ("onnx", "onnxscript", "onnxruntime")
"""What the exported files take to be written and run."""


def compute(
    tokenizers: Sequence[Path],
    data: Sequence[Path],
    threads: int,
    compiled: bool = True,
    onnx: bool | None = None,
    batches: Sequence[int] = BATCHES,
    passes: int = PASSES,
    mapping: str | None = None,
    quiet: bool = False,
) -> Benchmark:
    """Time every tokenizer on every dataset whose robot it knows.

    Args:
        tokenizers: Artefact directories.
        data: Datasets; the held-out windows are encoded.
        threads: Of torch and of FAST's byte-pair encoder.
        compiled: Also time the compiled modules (a minute of compiling for each).
        onnx: Also time the exported files (seconds of exporting for each); None: where that can be
            done.
        batches: Chunks per call.
        passes: Passes that count, at least 5.
        mapping: Of the datasets; None to find each one's own.
        quiet: Draw no progress bar.

    Raises:
        ValueError: Fewer than 1 thread or 5 passes, or no tokenizer knows the robot of a dataset.
    """
    if threads < 1 or passes < 5:
        raise ValueError(f"Give at least 1 thread and 5 passes, not {threads} and {passes}.")
    onnx = all(map(find_spec, EXPORTING)) if onnx is None else onnx
    ways = [PUBLIC, IDS, PROCESSOR, ADAPTIVE, ADAPTIVE_IDS, MODEL]
    ways += [*[COMPILED] * compiled, *EXPORTED * onnx]
    _use_threads(threads)
    loaded = load_tokenizers(tokenizers, closed_forms=False)
    sets = load_eval_sets(data, (), mapping, splits_of(loaded))
    done = []
    with tqdm(total=len(sets) * len(batches), unit="batch", disable=quiet) as progress:
        for eval_set in sets:
            done.append(_benchmark(eval_set, loaded, ways, batches, passes, progress))
    return Benchmark(_machine(), threads, done)


def write(benchmark: Benchmark, folder: Path) -> Path:
    """Write benchmark.json."""
    path = folder / "benchmark.json"
    plain = asdict(benchmark)
    plain["datasets"] = {d.pop("dataset"): d for d in plain["datasets"]}
    path.write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n")
    return path


def _use_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"


def _machine() -> str:
    return f"{hardware()}, {torch.cuda.get_device_name()}" if _has_gpu() else hardware()


def _has_gpu() -> bool:
    return torch.cuda.is_available()


def _benchmark(
    data: EvalSet,
    loaded: Sequence[LoadedTokenizer],
    ways: Sequence[str],
    batches: Sequence[int],
    passes: int,
    progress: tqdm,
) -> DatasetBenchmark:
    known = [entry for entry in loaded if data.embodiment in entry.embodiments]
    if not known:
        raise ValueError(
            f"None of the tokenizers knows {data.embodiment!r}, the robot of {data.name}. Give "
            "datasets of the robots they were trained on."
        )
    bits = {e.name: _bits(e.tokenizer, data.embodiment) for e in known}
    codec, fast_bits = _nearest_fast(data, float(np.exp(np.mean(np.log(list(bits.values()))))))
    entries = []
    for size in batches:
        progress.set_postfix_str(f"{data.name}, {size}")
        drawn = _draw(data, size)
        racers = {(codec.name, FAST): fast_runner(codec.tokenizer, drawn)}
        for entry in known:
            racers |= _racers(entry, Robot(entry.tokenizer, data, drawn), ways)
        entries += _timed(racers, data, drawn, passes)
        progress.update()
    horizon, channels = data.batch.scored.shape[1:]
    bits = {codec.name: fast_bits, **bits}
    return DatasetBenchmark(data.name, horizon, channels, bits, entries)


def _bits(tokenizer: ActionTokenizer, embodiment: str) -> float:
    """Of a robot's whole chunk."""
    return tokenizer.vocabulary_of(embodiment).tokens_per_chunk * tokenizer.bits_per_token


def _nearest_fast(data: EvalSet, bits: float) -> tuple[FastCodec, float]:
    """FAST at the scale whose bits per chunk come nearest."""
    candidates = []
    for scale in FAST_SCALES:
        codec = FastCodec(data, scale)
        tokens = codec.encode(data.batch)
        spent = bits_per_window(tokens, codec.sizes(tokens.shape[1])).mean()
        candidates.append((abs(np.log(spent / bits)), codec, float(spent)))
    return min(candidates, key=lambda candidate: candidate[0])[1:]


def _draw(data: EvalSet, size: int) -> list[Batch]:
    """The batches of a pass: windows spread over the held-out ones, again from the first."""
    calls = CALLS.get(size, 1)
    spread = np.linspace(0, len(data.batch) - 1, min(len(data.batch), size * calls)).round()
    indices = np.resize(spread.astype(int), (calls, size))
    return [data.batch.take(row) for row in indices]


def _racers(
    entry: LoadedTokenizer, robot: Robot, ways: Sequence[str]
) -> dict[tuple[str, str], Runner]:
    """A tokenizer in every way and on every device; cuda's names carry it."""
    racers = {(entry.name, way): runner(robot, way) for way in ways}
    if _has_gpu():
        there = robot.on("cuda")
        graphic = [*(way for way in ways if way not in EXPORTED), BF16]
        racers |= {(entry.name, f"{way} cuda"): runner(there, way) for way in graphic}
    return racers


def _timed(
    racers: dict[tuple[str, str], Runner], data: EvalSet, drawn: list[Batch], passes: int
) -> list[Entry]:
    size = len(drawn[0])
    times = race(list(racers.values()), len(drawn), size * len(drawn), passes)
    errors = {
        name: _error(asked, data, drawn)
        for name, asked in racers.items()
        if not name[1].startswith(MODEL)
    }
    entries = []
    for ((name, way), asked), taken in zip(racers.items(), times, strict=True):
        public = (name, FAST if way == FAST else PUBLIC)
        same = None
        if not way.startswith(ADAPTIVE):
            same = _agreement(asked, racers[public], len(drawn))
        off = errors[name, way] / errors[public] if (name, way) in errors else None
        kind, speed = way.split()[0], _speed(taken, times[0])
        entry = Entry(name, kind, asked.device, size, **speed, same_codes=same, error_ratio=off)
        entries.append(entry)
    return entries


def _agreement(asked: Runner, public: Runner, batches: int) -> float:
    """Share of the chunks that two runners give the same codes."""
    if asked is public:
        return 1.0
    pairs = [
        [r.codes(r.encode(number)).cpu() for r in (asked, public)] for number in range(batches)
    ]
    equal = [(a == b).flatten(1).all(1).double().mean() for a, b in pairs]
    return float(np.mean(equal))


def _error(asked: Runner, data: EvalSet, drawn: list[Batch]) -> float:
    """Mean squared error of what a runner decodes, in scored space."""
    squares = []
    for number, batch in enumerate(drawn):
        back = asked.absolute(number, asked.decode(number, asked.encode(number)))
        if isinstance(back, Tensor):
            back = data.space.transform(data.to_relative(back.float().cpu(), batch))
        squares.append(np.square(data.space.clip(back) - batch.scored).mean())
    return float(np.mean(squares))


def _speed(times: Times, fast: Times) -> dict[str, float]:
    """The figures of speed that an entry has."""
    found = {
        "encode_us": times.encode,
        "decode_us": times.decode,
        "encode_ratio": times.encode / fast.encode,
        "decode_ratio": times.decode / fast.decode,
        "both_ratio": times.both / fast.both,
    }
    return {name: float(np.median(values)) for name, values in found.items()}
