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
from torch.nn.functional import pad

from rvq_action.blocks import full_precision
from rvq_action.branching import may_look


def _make_basis(horizon: int, num_frequencies: int, device: torch.device) -> Tensor:
    """The first F rows (frequencies) of the orthonormal DCT-II of T frames, [F, T] float32."""
    frame = torch.arange(horizon, dtype=torch.float64) + 0.5
    frequency = torch.arange(horizon, dtype=torch.float64)[:, None]
    matrix = torch.cos(math.pi / horizon * frequency * frame) * math.sqrt(2.0 / horizon)
    lowest = torch.where(frequency == 0, 1 / math.sqrt(2.0), 1.0)
    kept = (matrix * lowest)[:num_frequencies]
    return pad(kept, (0, 0, 0, num_frequencies - len(kept))).float().to(device)


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _kept_basis(horizon: int, num_frequencies: int, device: torch.device) -> Tensor:
    """Made once, and never an inference tensor: training uses it too."""
    return _make_basis(horizon, num_frequencies, device)


def _basis(horizon: int, num_frequencies: int, device: torch.device) -> Tensor:
    make = _make_basis if torch.compiler.is_compiling() else _kept_basis
    return make(horizon, num_frequencies, device)


def to_frequencies(x: Tensor, num_frequencies: int) -> Tensor:
    """[B, T, D] frames -> [B, F, D] components, of the energy of F frames."""
    basis = _basis(x.shape[1], num_frequencies, x.device)
    with full_precision(x):
        components = torch.einsum("ft,btd->bfd", basis, x.float())
    return components * math.sqrt(num_frequencies / x.shape[1])


def to_frames(coefficients: Tensor, horizon: int) -> Tensor:
    """[B, F, D] components -> [B, T, D] frames; inverse of `to_frequencies` for T <= F."""
    basis = _basis(horizon, coefficients.shape[1], coefficients.device)
    with full_precision(coefficients):
        frames = torch.einsum("ft,bfd->btd", basis, coefficients.float())
    return frames * math.sqrt(horizon / coefficients.shape[1])


def fill_masked(x: Tensor, mask: Tensor) -> Tensor:
    """Hold the nearest earlier real frame (or the first later one) where a frame is masked.

    A device of the encoder, so that a code depends on real entries alone; a channel that is
    masked throughout stays 0.

    Args:
        x: [B, T, D].
        mask: bool [B, T, D], True = real.
    """
    if may_look(mask) and torch.equal(mask, mask[:, :1].expand_as(mask)):
        return torch.where(mask, x, 0.0)
    frames = torch.arange(x.shape[1], device=x.device)[None, :, None].expand_as(x)
    last = torch.where(mask, frames, -1).cummax(dim=1).values
    first = torch.where(mask, frames, x.shape[1]).amin(dim=1, keepdim=True)
    source = torch.where(last >= 0, last, first.expand_as(last))
    held = x.gather(1, source.clamp(max=x.shape[1] - 1))
    return torch.where(mask.any(dim=1, keepdim=True), held, 0.0)
