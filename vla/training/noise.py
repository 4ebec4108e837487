"""The random part of a training step: a function of seed, step and place in the global batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vla.flow import FlowDraw
from vla.sequence import Batch


def draw_flow(batch: Batch, keys: Sequence[Sequence[int]], alpha: float, scale: float) -> FlowDraw:
    """Noise and flow time of every sample, the same however a global batch is dealt out.

    Args:
        batch: The samples, their frames as often as there are to be draws of each.
        keys: What each sample's draw depends on, such as (seed, step, number in the batch).
        alpha: See `FlowDraw.sample`.
        scale: See `FlowDraw.sample`.
    """
    frames = batch.horizon // batch.draws
    noise = torch.zeros(len(batch), batch.draws, frames, batch.actions.shape[-1])
    time = torch.zeros(len(batch), batch.draws, 1)
    slots = batch.slots[:, :frames].cpu().long() * torch.arange(1, frames + 1)
    for row, (key, slot) in enumerate(zip(keys, slots.tolist(), strict=True)):
        generator, length = torch.Generator().manual_seed(number_of(key)), max(slot, default=0)
        own = torch.zeros(batch.draws, length, noise.shape[-1])
        drawn = FlowDraw.sample(own, alpha, scale, generator)
        noise[row, :, :length], time[row, :, 0] = drawn.noise, drawn.time
    device, times = batch.actions.device, time.expand(-1, -1, frames)
    return FlowDraw(noise.flatten(1, 2).to(device), times.flatten(1).to(device))


def number_of(key: Sequence[int]) -> int:
    """A seed that depends on every number of a key."""
    state = np.random.SeedSequence(list(key)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
