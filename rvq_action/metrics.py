"""Measures shared by training and analysis."""

from __future__ import annotations

import torch
from torch import Tensor

from rvq_action.layout import ROTATION_UNIT, ActionLayout
from rvq_action.rotation import geodesic_angle, rot6d_to_matrix


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the entries whose mask is True; 0 where there are none.

    Args:
        values: Any shape.
        mask: bool, broadcastable to `values`.
    """
    mask = mask.expand_as(values)
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def masked_mean_per_chunk(values: Tensor, mask: Tensor) -> Tensor:
    """[B, T, D] -> [B], the masked mean of every chunk."""
    total = torch.where(mask, values, 0.0).flatten(1).sum(-1)
    return total / mask.flatten(1).sum(-1).clamp(min=1)


def physical_errors(
    predicted: Tensor, target: Tensor, mask: Tensor, layout: ActionLayout
) -> dict[str, Tensor]:
    """Mean absolute error per channel group, in the group's unit; rotations in radians.

    Args:
        predicted: [B, T, D] physical units.
        target: [B, T, D] physical units.
        mask: bool [B, T, D].
        layout: Says the groups.

    Returns:
        One scalar per group that has a real entry; a rotation's is the mean geodesic angle.
    """
    errors = {}
    for group, indices in layout.groups.items():
        real = mask[..., indices]
        if not real.any():
            continue
        p, t = predicted[..., indices], target[..., indices]
        if layout.channels[indices[0]].unit == ROTATION_UNIT:
            angle = geodesic_angle(rot6d_to_matrix(p), rot6d_to_matrix(t))
            errors[group] = masked_mean(angle, real.all(-1))
        else:
            errors[group] = masked_mean((p - t).abs(), real)
    return errors


def code_usage(codes: Tensor, codebook_size: int) -> Tensor:
    """Codes int64 [N, S, K] -> counts [S, K, V]; absent codes are not counted."""
    slots, levels = codes.shape[1:]
    offset = torch.arange(slots * levels, device=codes.device).view(slots, levels) * codebook_size
    flat = (codes.clamp(min=0) + offset).flatten()
    weight = (codes >= 0).flatten().to(torch.float64)
    counts = torch.zeros(slots * levels * codebook_size, dtype=torch.float64, device=codes.device)
    return counts.index_add_(0, flat, weight).view(slots, levels, codebook_size)


def utilisation(counts: Tensor) -> Tensor:
    """[..., V] counts -> [...] share of the codes used at least once."""
    return (counts > 0).double().mean(-1)


def perplexity(counts: Tensor) -> Tensor:
    """[..., V] counts -> [...] exp of the entropy: how many codes are used in effect."""
    share = counts / counts.sum(-1, keepdim=True).clamp(min=1)
    return torch.exp(-torch.xlogy(share, share).sum(-1))
