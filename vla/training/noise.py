"""The random part of a training step: a function of seed, step and place in the global batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vla.flow import FlowDraw
from vla.sequence import Batch


def draw_flow(
    batch: Batch,
    keys: Sequence[Sequence[int]],
    alpha: float,
    scale: float,
    committed_frames: int = 0,
) -> FlowDraw:
    """Noise and flow time of every sample, the same however a global batch is dealt out.

    Args:
        batch: The samples, their frames as often as there are to be draws of each.
        keys: What each sample's draw depends on, such as (seed, step, number in the batch).
        alpha: See `FlowDraw.sample`.
        scale: See `FlowDraw.sample`.
        committed_frames: The most first frames that are given, see `draw_committed`.
    """
    frames = batch.horizon // batch.draws
    noise = torch.zeros(len(batch), batch.draws, frames, batch.actions.shape[-1])
    time = torch.zeros(len(batch), batch.draws, frames)
    slots = batch.slots[:, :frames].cpu().long() * torch.arange(1, frames + 1)
    for row, (key, slot) in enumerate(zip(keys, slots.tolist(), strict=True)):
        generator, length = torch.Generator().manual_seed(number_of(key)), max(slot, default=0)
        own = torch.zeros(batch.draws, length, noise.shape[-1])
        drawn = FlowDraw.sample(own, alpha, scale, generator)
        most = min(committed_frames, length - 1)
        drawn = drawn.give(draw_committed(batch.draws, most, generator))
        noise[row, :, :length], time[row, :, :length] = drawn.noise, drawn.time
    device = batch.actions.device
    return FlowDraw(noise.flatten(1, 2).to(device), time.flatten(1).to(device))


def draw_committed(draws: int, most: int, generator: torch.Generator) -> torch.Tensor:
    """How many first frames each draw is given, int64 [draws]: half none, half 1 to `most`."""
    if most < 1:
        return torch.zeros(draws, dtype=torch.int64)
    return torch.randint(1 - most, most + 1, (draws,), generator=generator).clamp(min=0)


def number_of(key: Sequence[int]) -> int:
    """A seed that depends on every number of a key."""
    state = np.random.SeedSequence(list(key)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
