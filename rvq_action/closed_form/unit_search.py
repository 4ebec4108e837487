"""Units in which the latents of a new robot fit codebooks that were made for others.

Its latents may be spread otherwise than theirs: more often at rest and then far away, say, where no
code is. So a slot's units are tried in several sizes and shapes, and those kept that leave least.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from rvq_action.closed_form.linear_path import LinearPath, units_like
from rvq_action.quantizer import SlotResidualVQ

SHAPES, SIZES = (0.0, 0.5, 1.0), (1.0, 1.5, 2.0, 3.0)
SMALLEST = 1e-12
WINDOWS = 2048


@dataclass(frozen=True)
class FittingUnits:
    """Attributes:
    units: [s, C].
    error: Mean squared error of a window's components, geometric mean over the levels.
    """

    units: Tensor
    error: float


@torch.no_grad()
def search_units(
    path: LinearPath, samples: Tensor, typical: Tensor, quantizer: SlotResidualVQ
) -> FittingUnits:
    """Try units slot by slot.

    Args:
        path: Of the new robot.
        samples: [N, P], the cosine components of its windows.
        typical: [S, C] root mean square of the latents that the codebooks are made for.
        quantizer: Holds the codebooks.
    """
    samples = samples[torch.linspace(0, len(samples) - 1, min(len(samples), WINDOWS)).long()]
    latents = path.latents(samples)
    units = torch.ones_like(path.sizes)
    least = torch.full((quantizer.config.num_quantizers, len(units)), torch.inf)
    for shape in SHAPES:
        for size in SIZES:
            trial = size * units_like(path.sizes, typical, shape)
            left = _left_over(latents, trial, path.filled, quantizer)
            better = _log(left).mean(0) < _log(least).mean(0)
            units[better], least[:, better] = trial[better], left[:, better]
    whole = (samples - path.transform.mean).square().sum(-1).mean()
    uncoded = (whole - latents.square().sum((1, 2)).mean()).clamp(min=0)
    return FittingUnits(units, float(_log(least.sum(-1) + uncoded).mean().exp()))


def _left_over(latents: Tensor, unit: Tensor, filled: Tensor, quantizer: SlotResidualVQ) -> Tensor:
    """[K, s] mean squared error of each slot with its first 1..K levels."""
    levels = range(1, quantizer.config.num_quantizers + 1)
    width = quantizer.config.slot_width
    given = pad(latents / unit, (0, width - latents.shape[-1])).to(quantizer.codebooks.device)
    codes, errors = quantizer.encode(given), []
    for level in levels:
        vectors = quantizer.dequantize(codes[..., :level]).to(latents)[..., : latents.shape[-1]]
        error = torch.where(filled, vectors * unit - latents, 0.0)
        errors.append(error.square().sum(-1).mean(0))
    return torch.stack(errors)


def _log(errors: Tensor) -> Tensor:
    return errors.clamp(min=SMALLEST).log()
