"""Training steps of a random network on random samples: how long they take, and whether they fit.

A step is what `rvq-vla train` takes: the three terms, their gradients, clipping, the optimizer.
Reading the data and the moving average of the weights come on top.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rvq_action.housekeeping.machine import hardware
from vla.backbone import backbone_shape
from vla.config import VLAConfig
from vla.device import read_device
from vla.inference.bench.bounds import Rates, measure_rates
from vla.inference.bench.subject import random_model, random_sample, sized
from vla.inspection import Workload, forward_flops, inspect_config
from vla.losses import LossWeights
from vla.model import VLAModel
from vla.sequence import Batch, collate
from vla.training.bench.settings import TrainingBenchSettings
from vla.training.lora import LoraSettings, adapt
from vla.training.optimizers import OptimizerSettings, build_optimizer
from vla.training.step import step_losses

CLIP = 1.0
"""Largest norm of the gradient, as in the packaged configurations."""


@dataclass(frozen=True)
class Entry:
    """One size of micro-batch.

    Attributes:
        batch_size: Sequences.
        ms: Median milliseconds of a step; None where it does not fit the GPU's memory.
        steps_ms: Of every step that counts.
        tflops: What the network itself multiplies in a step, 10^12; recomputed activations do not
            count.
        utilisation: MFU: the share of the measured rate of matrix products, in the precision of the
            sums, that this is; None on a CPU.
        peak_gb: GPU memory, 10^9 bytes; None on a CPU.
    """

    batch_size: int
    ms: float | None
    steps_ms: list[float]
    tflops: float
    utilisation: float | None
    peak_gb: float | None


@dataclass(frozen=True)
class TrainingBench:
    """The whole run.

    Attributes:
        settings: Of it.
        hardware: In words.
        device: Name of the processor that computed.
        parameters: In all.
        trained: Of them.
        tokens: Of one sequence, by what they are.
        rates: The GPU's; None on a CPU.
        entries: By size of batch.
    """

    settings: TrainingBenchSettings
    hardware: str
    device: str
    parameters: int
    trained: int
    tokens: dict[str, int]
    rates: Rates | None
    entries: list[Entry]


def compute(
    settings: TrainingBenchSettings, tell: Callable[[Entry], None] = lambda _: None
) -> TrainingBench:
    """Time all sizes of batch, one after the other, with one network.

    Args:
        settings: What, and how often.
        tell: Told every entry when it is there.

    Raises:
        ValueError: There is no such configuration or device, the network does not see pictures
            of the size, or its weights alone do not fit.
    """
    device = read_device(settings.device)
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if settings.precision == "bf16-mixed" else torch.float32
    try:
        rates = measure_rates(device, dtype) if on_gpu else None
        model = _network(settings, device)
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"The weights of {settings.config} alone do not fit the memory of {settings.device}. "
            "Give --lora_rank 32, a smaller --config, or another device."
        ) from error
    described = OptimizerSettings(name=settings.optimizer)
    optimizer = build_optimizer(model.named_parameters(), described)
    config = sized(model.config, _size(settings, model.config), model.config.denoise_steps)
    load = Workload(settings.views, settings.words, settings.horizon)
    found, flops = inspect_config(config, load), _flops(config, load, settings)
    entries = []
    for count in settings.batch_sizes:
        times = _times(model, optimizer, settings, count)
        entries.append(_entry(count, times, count * flops / 1e12, rates, device))
        tell(entries[-1])
    return TrainingBench(
        settings=settings,
        hardware=hardware(),
        device=torch.cuda.get_device_name(device) if on_gpu else "CPU",
        parameters=found.parameters["total"],
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        tokens=found.tokens,
        rates=rates,
        entries=entries,
    )


def _flops(config: VLAConfig, load: Workload, settings: TrainingBenchSettings) -> int:
    """Of one sequence, forwards and backwards.

    Adapters stand on the VL Expert's maps: gradients pass through these, but end before the frozen
    vision tower.
    """
    passes = {"vision": 1, "language": 2, "vocabulary": 2} if settings.lora_rank else {}
    return sum(passes.get(p, 3) * flops for p, flops in forward_flops(config, load).items())


def _size(settings: TrainingBenchSettings, config: VLAConfig) -> int:
    return settings.size or config.image_size


def _network(settings: TrainingBenchSettings, device: torch.device) -> VLAModel:
    torch.manual_seed(settings.seed)
    config = VLAConfig.named(settings.config)
    dtype = torch.bfloat16 if settings.lora_rank else torch.float32
    model = random_model(config, device, dtype).train()
    model.checkpoint_gradients(settings.gradient_checkpointing)
    words = backbone_shape(config.backbone).text_config.vocab_size
    adapt(model, LoraSettings(settings.lora_rank, vocabulary=False), words)
    return model


def _times(
    model: VLAModel,
    optimizer: torch.optim.Optimizer,
    settings: TrainingBenchSettings,
    count: int,
) -> list[float] | None:
    """Milliseconds of every step, the first left out; None where memory does not suffice."""
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    times = []
    try:
        batch = _batch(model, settings, count)
        for step in range(1 + settings.steps):
            _wait(model.device)
            start = time.perf_counter()
            _step(model, optimizer, batch, settings, step)
            _wait(model.device)
            times.append(1000 * (time.perf_counter() - start))
    except torch.OutOfMemoryError:
        optimizer.zero_grad()
        optimizer.state.clear()  # of which it may have only half
        torch.cuda.empty_cache()
        return None
    return times[1:]


def _batch(model: VLAModel, settings: TrainingBenchSettings, count: int) -> Batch:
    size = _size(settings, model.config)
    answer = model.config.num_slots * model.config.num_levels + 1
    told = settings.views, size, settings.words, settings.horizon, answer
    draw = torch.Generator().manual_seed(settings.seed)
    samples = [random_sample(model, *told, draw) for _ in range(count)]
    merge = model.vl_expert.config.vision_config.spatial_merge_size
    return collate(samples, merge).to(model.device)


def _step(
    model: VLAModel,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    settings: TrainingBenchSettings,
    step: int,
) -> None:
    keys = [(settings.seed, step, number) for number in range(len(batch))]
    with _sums(settings.precision, model.device):
        loss = step_losses(model, batch, keys, 1).mean().total(LossWeights())
    loss.backward()
    nn.utils.clip_grad_norm_(_trained(model), CLIP)
    optimizer.step()
    optimizer.zero_grad()


def _trained(model: VLAModel) -> Iterator[nn.Parameter]:
    return (p for p in model.parameters() if p.requires_grad)


def _sums(precision: str, device: torch.device) -> AbstractContextManager:
    if precision == "bf16-mixed":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _entry(
    count: int,
    times: list[float] | None,
    tflops: float,
    rates: Rates | None,
    device: torch.device,
) -> Entry:
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    if times is None:
        return Entry(count, None, [], tflops, None, peak)
    ms = float(np.median(times))
    share = None if rates is None else 1e15 * tflops / ms / rates.flop_per_s
    return Entry(count, ms, times, tflops, share, peak)
