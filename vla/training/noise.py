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
        batch: The samples.
        keys: What each sample's draw depends on, such as (seed, step, number in the batch).
        alpha: See `FlowDraw.sample`.
        scale: See `FlowDraw.sample`.
    """
    noise = torch.zeros(batch.actions.shape)
    time = torch.zeros(len(batch))
    lengths = batch.slots.cpu().long() * torch.arange(1, batch.horizon + 1)
    for row, (key, length) in enumerate(zip(keys, lengths.tolist(), strict=True)):
        generator = torch.Generator().manual_seed(number_of(key))
        own = torch.zeros(1, max(length, default=0), noise.shape[-1])
        drawn = FlowDraw.sample(own, alpha, scale, generator)
        noise[row, : own.shape[1]], time[row] = drawn.noise[0], drawn.time[0]
    device = batch.actions.device
    return FlowDraw(noise.to(device), time.to(device))


def number_of(key: Sequence[int]) -> int:
    """A seed that depends on every number of a key."""
    state = np.random.SeedSequence(list(key)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
