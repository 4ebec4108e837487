"""The paths side by side, for every number of pictures and every size of theirs.

plain    PyTorch eager, the whole sequence again in every denoising step
cached   PyTorch eager, keys and values of the prompt kept
fast     `FastSampler`
compiled `FastSampler` with its step compiled, where asked for
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rvq_action.housekeeping.machine import hardware
from vla.inference.bench.bounds import Bounds, Rates, bounds, measure_rates
from vla.inference.bench.race import Timed, race
from vla.inference.bench.settings import BenchSettings
from vla.inference.bench.subject import load_subject, random_batch
from vla.inference.fast import FastSampler
from vla.inspection import Workload, count_parameters
from vla.model import VLAModel

PLAIN, CACHED, FAST, COMPILED = "plain", "cached", "fast", "compiled"


@dataclass(frozen=True)
class Way:
    """One path.

    Attributes:
        ms: Median milliseconds from a batch to its chunk.
        rounds_ms: Of every round.
        over_plain: How many times as fast as `plain`: median over rounds of the ratio in a round.
        over_cached: As fast as `cached`.
        apart: Largest difference of its actions from those of `plain`, in model space.
        peak_gb: GPU memory; None on a CPU.
    """

    ms: float
    rounds_ms: list[float]
    over_plain: float
    over_cached: float
    apart: float
    peak_gb: float | None


@dataclass(frozen=True)
class Entry:
    """One prompt.

    Attributes:
        views: Pictures.
        size: Pixels per side.
        tokens: Of the prompt.
        ways: By name.
        bounds: What the GPU needs at least; None on a CPU.
    """

    views: int
    size: int
    tokens: int
    ways: dict[str, Way]
    bounds: Bounds | None


@dataclass(frozen=True)
class Bench:
    """The whole run.

    Attributes:
        settings: Of it.
        hardware: In words.
        device: Name of the processor that computed.
        threads: Of torch.
        dtype: Of the experts.
        steps: Of the sampler.
        parameters: In all.
        rates: The GPU's; None on a CPU.
        entries: By size, then by number of pictures.
        skipped: Size -> why the network does not see such pictures.
    """

    settings: BenchSettings
    hardware: str
    device: str
    threads: int
    dtype: str
    steps: int
    parameters: int
    rates: Rates | None
    entries: list[Entry]
    skipped: dict[int, str]


def compute(settings: BenchSettings, tell: Callable[[str], None] = lambda _: None) -> Bench:
    """Time all paths.

    Args:
        settings: What, and how often.
        tell: Told what comes next.

    Raises:
        ValueError: There is no such network, or it sees pictures of none of the sizes.
    """
    model = load_subject(settings)
    steps = settings.steps or model.config.denoise_steps
    on_gpu = model.device.type == "cuda"
    rates = measure_rates(model.device, model.dtype) if on_gpu else None
    entries, skipped = [], {}
    for size in settings.sizes or (model.config.image_size,):
        try:
            batches = {n: random_batch(model, settings, n, size) for n in settings.views}
        except ValueError as error:
            skipped[size] = str(error)
            continue
        for views, batch in batches.items():
            tell(f"views {views}, {size} x {size}")
            ways = _race(model, settings, steps, batch)
            load = Workload(views, settings.words, settings.horizon)
            limits = None if rates is None else bounds(model, rates, size, steps, load)
            entries.append(Entry(views, size, batch.ids.shape[1], ways, limits))
    if not entries:
        raise ValueError(f"The network sees pictures of none of these sizes: {skipped}.")
    kind = str(model.dtype).removeprefix("torch.")
    total = count_parameters(model)["total"]
    name = torch.cuda.get_device_name(model.device) if on_gpu else "CPU"
    facts = name, torch.get_num_threads(), kind, steps, total, rates
    return Bench(settings, hardware(), *facts, entries, skipped)


def _race(model: VLAModel, settings: BenchSettings, steps: int, batch) -> dict[str, Way]:
    draw = torch.Generator().manual_seed(settings.seed)
    noise = torch.randn(batch.actions.shape, generator=draw).to(model.device)
    told = batch, noise, steps
    ways: dict[str, Callable[[], Tensor]] = {
        PLAIN: partial(model.sample_actions, *told, cached=False),
        CACHED: partial(model.sample_actions, *told),
        FAST: partial(FastSampler(model).sample_actions, *told),
    }
    if settings.compiled:
        ways[COMPILED] = partial(FastSampler(model, compiled=True).sample_actions, *told)
    timed = race(ways, settings.repeats, model.device)
    return {name: _way(timed, name) for name in timed}


def _way(timed: dict[str, Timed], name: str) -> Way:
    own, plain, cached = (timed[n] for n in (name, PLAIN, CACHED))
    apart = float((own.actions - plain.actions).abs().max())
    over_plain, over_cached = (float(np.median(x.ms / own.ms)) for x in (plain, cached))
    times = float(np.median(own.ms)), own.ms.tolist()
    return Way(*times, over_plain, over_cached, apart, own.peak_gb)
