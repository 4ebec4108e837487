"""How many bits each component of a chunk is worth, and which slot carries it.

Reverse water-filling (Cover & Thomas, Elements of Information Theory, theorem 10.3.3): to spend
R bits on independent Gaussian components of energies λ, leave the same distortion θ in each that
exceeds it: r = max(0, ½ log2(λ / θ)), with θ such that the r add up to R.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def water_fill(energies: Tensor, bits: float) -> Tensor:
    """Bits per component, [N], adding up to `bits`.

    Args:
        energies: [N] >= 0.
        bits: Total to spend; nothing where it is negative.
    """
    if not len(energies):
        return energies.double()
    logs = energies.double().clamp(min=1e-18).log2() / 2
    ordered = logs.sort(descending=True).values
    count = torch.arange(1, len(ordered) + 1)
    level = (ordered.cumsum(0) - bits) / count
    used = int((ordered > level).sum())
    return (logs - level[max(used, 1) - 1]).clamp(min=0.0)


def deal(rates: list[float], items: list[list[int]], capacities: list[int]) -> list[list[int]]:
    """Deal items out to slots so that each carries about the same number of bits per level.

    The heaviest item goes first, always to the slot with the fewest bits per level.

    Args:
        rates: Bits of each item.
        items: Component indices of each item.
        capacities: Levels of each slot; one without levels gets nothing.

    Returns:
        Component indices of every slot.
    """
    slots: list[list[int]] = [[] for _ in capacities]
    load = [0.0 if levels else math.inf for levels in capacities]
    for item in sorted(range(len(items)), key=lambda i: -rates[i]):
        slot = load.index(min(load))
        slots[slot] += items[item]
        load[slot] += rates[item] / capacities[slot]
    return slots


def largest_power_of_two(value: float) -> int:
    """The largest power of two not above `value` (at least 1)."""
    return 1 << max(0, int(math.log2(max(value, 1.0))))
