"""The linear transform of the closed form: principal components, switched channels apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MOVING = 1e-4
BINARY_SHARE, BINARY_MARGIN = 0.99, 0.02


@dataclass(frozen=True)
class Windows:
    """Windows of one embodiment in model space, padded to the tokenizer's width.

    Attributes:
        x: [N, T, D].
        mask: bool [N, T, D].
    """

    x: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Transform:
    """From the P features of a window to N components and, transposed, back.

    Attributes:
        mean: [P].
        components: [N, P], by falling energy; the switched channels' own come last.
        blocks: Components that belong to one switched channel and stay together.
        block_bits: What each block is worth.
    """

    mean: Tensor
    components: Tensor
    blocks: list[list[int]]
    block_bits: list[float]


def moving_channels(windows: Windows) -> int:
    """How many channels ever move."""
    spread = torch.where(windows.mask, windows.x, 0.0).flatten(0, 1).std(dim=0, correction=0)
    return int((spread > MOVING).sum())


def binary_patterns(windows: list[Windows]) -> dict[int, int]:
    """Channels that take two values only, and the number of their shapes over a window."""
    patterns = {}
    for channel in range(windows[0].x.shape[2]):
        series = [w.x[w.mask[..., channel].all(1), :, channel] for w in windows]
        series = [s for s in series if len(s)]
        if not series or any(not _is_binary(s) for s in series):
            continue
        signs = {tuple(row) for s in series for row in (s > (s.min() + s.max()) / 2).int().tolist()}
        patterns[channel] = len(signs)
    return patterns


def _is_binary(series: Tensor) -> bool:
    low, high = series.min(), series.max()
    margin = BINARY_MARGIN * (high - low)
    at_an_end = (series < low + margin) | (series > high - margin)
    return bool(high - low > MOVING and at_an_end.float().mean() >= BINARY_SHARE)


def fit_transform(
    samples: Tensor, patterns: dict[int, int], width: int, apart: bool = False
) -> Transform:
    """Principal components of the smooth channels, the binary ones' features as they are.

    Args:
        samples: [windows, P], P = F·D with the channel running fastest.
        patterns: From `binary_patterns`.
        width: D.
        apart: No component is of several channels; each channel has its own.
    """
    mean = samples.mean(dim=0)
    features = torch.arange(samples.shape[1])
    binary = torch.tensor([c in patterns for c in range(width)])[features % width]
    smooth = features[~binary]
    groups = [smooth[smooth % width == c] for c in range(width)] if apart else [smooth]
    components = torch.zeros(len(features), len(features))
    components[: len(smooth)] = _principal(samples - mean, groups)
    blocks, first = [], len(smooth)
    for channel in patterns:
        own = features[features % width == channel]
        components[first + torch.arange(len(own)), own] = 1.0
        blocks.append(list(range(first, first + len(own))))
        first += len(own)
    return Transform(mean, components, blocks, [math.log2(max(2, n)) for n in patterns.values()])


def _principal(centred: Tensor, groups: list[Tensor]) -> Tensor:
    """Principal components of each group of features, by falling energy: [features in them, P]."""
    energies, rows = [], []
    for group in groups:
        own = centred[:, group].double()
        energy, vectors = torch.linalg.eigh(own.T @ own / len(own))
        row = torch.zeros(len(group), centred.shape[1])
        row[:, group] = vectors.flip(-1).T.float()
        energies.append(energy.flip(0))
        rows.append(row)
    order = torch.cat(energies).argsort(descending=True, stable=True)
    return torch.cat(rows)[order]
