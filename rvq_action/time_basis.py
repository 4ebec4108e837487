"""Frames of any number <-> a fixed number of cosine components per channel.

A chunk of T frames is read as samples of a curve over its own duration. Its orthonormal DCT-II
coefficients, scaled so that a curve has the same ones at every T, are the tokenizer's input; its
output is evaluated on whichever grid of frames is asked for. A chunk of F frames or fewer comes
back exactly, a longer one low-passed.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _dct_matrix(horizon: int) -> Tensor:
    """Orthonormal DCT-II, [T, T] float64, rows are frequencies."""
    frame = torch.arange(horizon, dtype=torch.float64) + 0.5
    frequency = torch.arange(horizon, dtype=torch.float64)[:, None]
    matrix = torch.cos(math.pi / horizon * frequency * frame) * math.sqrt(2.0 / horizon)
    matrix[0] /= math.sqrt(2.0)
    return matrix


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _basis(horizon: int, num_frequencies: int) -> Tensor:
    """[F, T] float32; cached, hence never born as an inference tensor: training uses it too."""
    basis = torch.zeros(num_frequencies, horizon, dtype=torch.float64)
    kept = min(horizon, num_frequencies)
    basis[:kept] = _dct_matrix(horizon)[:kept]
    return basis.float()


def to_frequencies(x: Tensor, num_frequencies: int) -> Tensor:
    """[B, T, D] frames -> [B, F, D] components, of the energy of F frames."""
    basis = _basis(x.shape[1], num_frequencies).to(x)
    return torch.einsum("ft,btd->bfd", basis, x) * math.sqrt(num_frequencies / x.shape[1])


def to_frames(coefficients: Tensor, horizon: int) -> Tensor:
    """[B, F, D] components -> [B, T, D] frames; inverse of `to_frequencies` for T <= F."""
    basis = _basis(horizon, coefficients.shape[1]).to(coefficients)
    scale = math.sqrt(horizon / coefficients.shape[1])
    return torch.einsum("ft,bfd->btd", basis, coefficients) * scale


def fill_masked(x: Tensor, mask: Tensor) -> Tensor:
    """Hold the nearest earlier real frame (or the first later one) where a frame is masked.

    A device of the encoder, so that a code depends on real entries alone; a channel that is
    masked throughout stays 0.

    Args:
        x: [B, T, D].
        mask: bool [B, T, D], True = real.
    """
    frames = torch.arange(x.shape[1], device=x.device)[None, :, None].expand_as(x)
    last = torch.where(mask, frames, -1).cummax(dim=1).values
    first = torch.where(mask, frames, x.shape[1]).amin(dim=1, keepdim=True)
    source = torch.where(last >= 0, last, first.expand_as(last))
    held = x.gather(1, source.clamp(max=x.shape[1] - 1))
    return torch.where(mask.any(dim=1, keepdim=True), held, 0.0)
