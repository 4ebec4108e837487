"""A robot's own way from the cosine components of its chunks to the slots that all robots share.

Its principal components, dealt out to as many slots as it has channels for; and a *unit* for each
latent, in which latents of one place are about as large whatever the robot, so that robots can
share codebooks. Units are half-way (geometrically) between one per latent, which makes the robots'
spectra alike and serves the first level, and one per slot, which keeps what an error in each latent
costs and serves the last. A robot alone has units of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rvq_action.closed_form.allocation import deal, water_fill
from rvq_action.closed_form.transform import Transform, Windows, fit_transform, moving_channels

ALIKE = 0.5
"""0 = one unit per slot, 1 = one per latent; robots that are fitted together."""
SMALLEST_SCALE = 1e-4
LEAST_SLOTS = 2
NONE = -1


@dataclass(frozen=True)
class LinearPath:
    """Of one robot.

    Attributes:
        transform: To N components.
        chosen: int64 [s, C], the component that each latent is; NONE where the robot has no latent.
        sizes: [s, C] root mean square of its latents, in its own units; 0 where it has none.
    """

    transform: Transform
    chosen: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, samples: Tensor, transform: Transform, chosen: Tensor) -> LinearPath:
        """The path whose sizes are those of samples [N, P]."""
        latents = cls(transform, chosen, torch.zeros(chosen.shape)).latents(samples)
        return cls(transform, chosen, latents.square().mean(0).sqrt())

    def latents(self, samples: Tensor) -> Tensor:
        """[N, P] -> [N, s, C] in the robot's own units, 0 where it has none."""
        components = (samples - self.transform.mean) @ self.transform.components.T
        return torch.where(self.filled, components[:, self.chosen.clamp(min=0)], 0.0)

    @property
    def components(self) -> Tensor:
        """[s, C, P], orthonormal rows, 0 where the robot has none."""
        rows = self.transform.components[self.chosen.clamp(min=0)]
        return torch.where(self.filled[..., None], rows, 0.0)

    @property
    def filled(self) -> Tensor:
        """bool [s, C], the latents that the robot has."""
        return self.chosen != NONE

    @property
    def switched(self) -> Tensor:
        """bool [s, C], latents that belong to a switched channel."""
        together = [i for block in self.transform.blocks for i in block]
        return torch.isin(self.chosen, torch.tensor(together, dtype=torch.int64))

    def placed(self, samples: Tensor, typical: Tensor) -> LinearPath:
        """The path with its latents where the codebooks expect latents of their rank.

        Args:
            samples: [N, P], the same as for `of`.
            typical: [S, C] root mean square of the latents that the codebooks are made for; what
                there is no place for, the smallest latents of a slot, is left out.
        """
        chosen = torch.full((len(self.chosen), typical.shape[1]), NONE)
        for slot, expected in enumerate(typical[: len(chosen)]):
            places = expected.argsort(descending=True, stable=True)[: int((expected > 0).sum())]
            ranks = self.sizes[slot].argsort(descending=True, stable=True)
            ranks = ranks[: min(len(places), int(self.filled[slot].sum()))]
            chosen[slot, places[: len(ranks)]] = self.chosen[slot, ranks]
        return LinearPath.of(samples, self.transform, chosen)


def fit_path(
    samples: Tensor,
    width: int,
    patterns: dict[int, int],
    levels: list[int],
    bits_per_code: float,
    apart: bool = False,
) -> LinearPath:
    """The path of one robot.

    Args:
        samples: [N, P] cosine components of its windows, the channel running fastest.
        width: D.
        patterns: The channels that keep their own components, from `binary_patterns`.
        levels: Codes of each slot that tell of the motion; the semantic slots, one short, first.
        bits_per_code: log2 V.
        apart: Each channel has components of its own.
    """
    transform = fit_transform(samples, patterns, width, apart)
    slots = _allocate(samples, transform, levels, bits_per_code)
    most = max(map(len, slots), default=0)
    rows = [[*indices, *[NONE] * (most - len(indices))] for indices in slots]
    chosen = torch.tensor(rows, dtype=torch.int64).reshape(len(slots), most)
    return LinearPath.of(samples, transform, chosen)


def slots_for(windows: Windows, per_channel: float, semantic_slots: int) -> int:
    """How many slots a robot's moving channels are worth.

    Raises:
        ValueError: None of them ever moves.
    """
    moving = moving_channels(windows)
    if not moving:
        raise ValueError("No channel ever moves in these windows; there is nothing to encode.")
    return max(LEAST_SLOTS, semantic_slots + 1, round(per_channel * moving))


def shared_units(paths: Sequence[LinearPath]) -> list[Tensor]:
    """[s, C] for each robot: what a latent is divided by before the shared codebooks see it."""
    if len(paths) == 1:
        return [torch.ones_like(paths[0].sizes)]
    slots, width = (max(path.sizes.shape[i] for path in paths) for i in (0, 1))
    total, members = torch.zeros(slots, width), torch.zeros(slots, 1)
    for path in paths:
        here = slice(len(path.chosen)), slice(path.sizes.shape[1])
        total[here] += _shares(path.sizes)
        members[here[0]] += 1
    typical = (total / members).sqrt()
    return [units_like(path.sizes, typical) for path in paths]


def units_like(sizes: Tensor, typical: Tensor, alike: float = ALIKE) -> Tensor:
    """[s, C] units in which latents are about as large as typical ones.

    Args:
        sizes: [s, C] root mean square of latents; 0 where there are none.
        typical: [S, C] of those that the codebooks are made for, S >= s.
        alike: Between 0 = one unit per slot and 1 = one per latent.
    """
    typical = typical[: sizes.shape[0], : sizes.shape[1]].clamp(min=SMALLEST_SCALE)
    each = sizes.clamp(min=SMALLEST_SCALE) / typical
    whole = sizes.norm(dim=-1, keepdim=True).clamp(min=SMALLEST_SCALE) / typical.norm(
        dim=-1, keepdim=True
    )
    return each**alike * whole ** (1 - alike)


def _shares(sizes: Tensor) -> Tensor:
    """Of the energy of each slot, [s, C]."""
    energies = sizes.square()
    return energies / energies.sum(-1, keepdim=True).clamp(min=SMALLEST_SCALE**2)


def _allocate(
    samples: Tensor, transform: Transform, levels: list[int], bits_per_code: float
) -> list[list[int]]:
    """Component indices of every slot: semantic ones, then the others by falling energy.

    There are fewer slots than asked for where there is less to put into them.

    Args:
        samples: [N, P].
        transform: To N components.
        levels: Codes of each slot that tell of the motion; the semantic slots, one short, first.
        bits_per_code: log2 V.
    """
    energies = ((samples - transform.mean) @ transform.components.T).square().mean(dim=0)
    together = {i for block in transform.blocks for i in block}
    single = [i for i in range(len(energies)) if i not in together]
    bits = sum(levels) * bits_per_code - sum(transform.block_bits)
    rates = water_fill(energies[single], bits).tolist()
    worth = [(rate, [i]) for rate, i in zip(rates, single, strict=True) if rate > 0]
    worth += list(zip(transform.block_bits, transform.blocks, strict=True))
    slots = deal([rate for rate, _ in worth], [item for _, item in worth], levels)
    short = sum(count < max(levels) for count in levels)
    others = sorted(filter(None, slots[short:]), key=lambda slot: -float(energies[slot].sum()))
    return slots[:short] + others
