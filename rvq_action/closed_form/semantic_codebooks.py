"""What the semantic codes stand for: k-means on where the semantic network puts chunks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rvq_action.closed_form.kmeans import kmeans, nearest
from rvq_action.embodiment import ModelInput
from rvq_action.model import TokenizerModel
from rvq_action.semantic import semantic_part


@torch.no_grad()
def fit_semantic_codebooks(
    model: TokenizerModel,
    inputs: Sequence[ModelInput],
    iterations: int,
    generator: torch.Generator,
    fresh: bool = False,
) -> tuple[Tensor, Tensor]:
    """One codebook per semantic slot, for `SlotResidualVQ.set_semantic`.

    Args:
        model: With semantic slots; left as it is.
        inputs: Chunks to fit on.
        iterations: Passes of k-means.
        generator: Source of randomness.
        fresh: Whether to forget what the codes stood for, instead of going on from it.

    Returns:
        [M, V, Q] and the share of the chunks per code, [M, V]; on the CPU, where k-means draws.
    """
    training = model.training
    model.eval()
    latents = [model.latents(g.x, g.mask, g.condition) for g in inputs]
    model.train(training)
    codebooks, shares = [], []
    points = torch.cat([semantic_part(part, model.config) for part in latents]).cpu()
    size, known = model.config.codebook_size, model.quantizer.semantic.cpu()
    for samples, before in zip(points.unbind(1), known, strict=True):
        start = None if fresh else before
        codebook = kmeans(samples, size, iterations, generator, start)
        index, _ = nearest(samples, codebook)
        codebooks.append(codebook)
        shares.append(torch.bincount(index, minlength=size) / len(samples))
    return torch.stack(codebooks), torch.stack(shares)
