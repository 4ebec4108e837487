"""Lloyd's k-means in torch, for codebooks."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 4096


def nearest(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest centroid and the squared distance to it.

    Args:
        x: [N, C].
        centroids: [V, C].

    Returns:
        int64 [N] and [N].
    """
    half_norm = centroids.square().sum(-1) / 2
    indices, scores = [], []
    for part in x.split(CHUNK):
        score, index = torch.addmm(half_norm, part, centroids.T, alpha=-1).min(dim=1)
        indices.append(index)
        scores.append(score)
    distance = x.square().sum(-1) + 2 * torch.cat(scores)
    return torch.cat(indices), distance.clamp(min=0)


def kmeans(
    x: Tensor,
    num_codes: int,
    iterations: int,
    generator: torch.Generator,
    start: Tensor | None = None,
) -> Tensor:
    """Codebook [V, C] of samples [N, C]; refills codes nobody chose.

    With fewer samples than codes the samples are the codes, and the other codes are near them, so
    that every code is a usable vector.

    Args:
        x: [N, C], N >= 1.
        num_codes: V.
        iterations: Passes over the samples.
        generator: Source of randomness.
        start: [V, C] to go on from; samples where omitted.
    """
    if start is None and len(x) < num_codes:
        others = torch.arange(num_codes - len(x)) % len(x)
        noise = torch.randn(len(others), x.shape[1], generator=generator)
        return torch.cat([x, x[others] + 0.05 * x.std(dim=0, correction=0) * noise])
    if start is None:
        start = x[torch.randperm(len(x), generator=generator)[:num_codes]]
    centroids = start.clone()
    for iteration in range(iterations):
        index, distance = nearest(x, centroids)
        count = torch.bincount(index, minlength=num_codes)
        total = torch.zeros_like(centroids).index_add_(0, index, x)
        used = count > 0
        centroids[used] = total[used] / count[used, None]
        if iteration < iterations - 1 and not used.all():
            centroids[~used] = x[_far(distance, int((~used).sum()), generator)]
    return centroids


def _far(distance: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw samples in proportion to their squared distance from the codebook."""
    weights = distance + distance.mean() * 1e-6 + 1e-12
    return torch.multinomial(weights, count, replacement=True, generator=generator)
