"""Principal components: exact ones of small pictures, the leading ones of wide features.

A vision-language model gives thousands of numbers per camera. An exact decomposition costs the cube
of their number, or of the samples'; the leading components cost what multiplying the samples by as
many directions does, a few times over.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_COMPONENTS = 512
"""Features of a frame that are wider than this are narrowed to so many leading components."""
TINY = 1e-10
"""Components whose share of the variance is below this are rounding errors, and left out."""
SPARE, POWERS = 32, 3
"""Directions followed beyond those wanted, and how often: the last ones wanted need it most."""


def principal_components(samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and leading directions of samples, scaled to a total variance of 1.

    Args:
        samples: [N, P].
        count: W, directions wanted.

    Returns:
        [P] and [P, W], float32. Directions that the samples do not have are 0. The sign is such
        that the largest entry of a direction is positive: equal samples give equal features.
    """
    mean = samples.double().mean(0)
    centred = samples.double() - mean
    by_samples = len(centred) < centred.shape[1]
    gram = centred @ centred.mT if by_samples else centred.mT @ centred
    energy, vectors = torch.linalg.eigh(gram / len(centred))
    energy, vectors = energy.flip(0)[:count], vectors.flip(1)[:, :count]
    real = energy > TINY * energy.sum().clamp_min(TINY)
    energy, vectors = energy[real], vectors[:, real]
    if by_samples:
        vectors = centred.mT @ vectors / (energy * len(centred)).sqrt()
    vectors = _upright(vectors)
    scaled = vectors / energy.sum().sqrt() if len(energy) else vectors
    return mean.float(), F.pad(scaled, (0, count - len(energy))).float()


def leading_components(samples: Tensor, count: int = MOST_COMPONENTS) -> tuple[Tensor, Tensor]:
    """Mean and leading directions of wide samples, nearly those of an exact decomposition.

    Randomised (Halko, Martinsson and Tropp, 2011, algorithm 4.4), but always drawn alike: equal
    samples give equal directions.

    Args:
        samples: [N, P] float32.
        count: W, directions wanted; at most P.

    Returns:
        [P] and [P, W], float32; directions have length 1, the strongest first. Those that the
        samples do not have are 0, and signs are those of `principal_components`.
    """
    mean = samples.mean(0, dtype=torch.float64).float()
    centred = samples - mean
    followed = min(count + SPARE, *centred.shape)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        _, spread, directions = torch.svd_lowrank(centred, q=followed, niter=POWERS)
    energy = spread.square()
    real = (energy > TINY * energy.sum().clamp_min(TINY))[:count]
    directions = _upright(directions[:, :count][:, real])
    return mean, F.pad(directions, (0, count - directions.shape[1]))


def _upright(vectors: Tensor) -> Tensor:
    """Directions [P, W], the largest entry of each positive."""
    return vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
