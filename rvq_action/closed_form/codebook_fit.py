"""Codebooks of the closed form: k-means per slot and level, on the latents of all robots together.

Each level codes what the levels above left over, on the components worth bits there. From the
second level on (on the first too, where windows are few) the samples are joined by copies with
random signs and sizes: what is left over has no preferred sign, and the copies keep the codebooks
from learning the windows by heart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rvq_action.closed_form.allocation import water_fill
from rvq_action.closed_form.kmeans import kmeans, nearest
from rvq_action.closed_form.linear_path import LinearPath
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.config import TokenizerConfig

FEW_WINDOWS = 8
MOST_COPIES, COPY_SPREAD = 15, 0.2
SMALLEST_ERROR = 1e-5


@dataclass(frozen=True)
class FittedCodebooks:
    """What k-means leaves.

    Attributes:
        codebooks: [K, S, V, C].
        support: bool [K, S, C], components that a level codes.
        usage: [K, S, V] share of the samples that choose each code.
        errors: [R, K+1, S, C] root mean square of what each robot's latents are and, from there on,
            what every level leaves over.
    """

    codebooks: Tensor
    support: Tensor
    usage: Tensor
    errors: Tensor


def fit_codebooks(
    latents: Sequence[Tensor],
    paths: Sequence[LinearPath],
    config: TokenizerConfig,
    recipe: ClosedFormRecipe,
    generator: torch.Generator,
) -> FittedCodebooks:
    """Fit the codebooks of all slots and levels.

    Args:
        latents: [N, s, C] of each robot, in shared units.
        paths: Of the same robots.
        config: Of the tokenizer.
        recipe: What to make.
        generator: Source of randomness.
    """
    shape = (config.num_quantizers, config.num_slots)
    fitted = FittedCodebooks(
        torch.zeros(*shape, config.codebook_size, config.slot_width),
        torch.zeros(*shape, config.slot_width, dtype=torch.bool),
        torch.zeros(*shape, config.codebook_size),
        torch.full((len(paths), shape[0] + 1, config.num_slots, config.slot_width), SMALLEST_ERROR),
    )
    for slot in range(config.num_slots):
        members = [robot for robot, path in enumerate(paths) if slot < len(path.chosen)]
        width = max(int(paths[robot].filled[slot].sum()) for robot in members)
        parts = [latents[robot][:, slot, :width] for robot in members]
        whole = torch.zeros(width, dtype=torch.bool)
        for robot in members:
            whole[: paths[robot].sizes.shape[1]] |= paths[robot].switched[slot, :width]
        _fit_slot(fitted, slot, members, parts, whole, config, recipe, generator)
    return fitted


def _fit_slot(
    fitted: FittedCodebooks,
    slot: int,
    members: list[int],
    parts: list[Tensor],
    whole: Tensor,
    config: TokenizerConfig,
    recipe: ClosedFormRecipe,
    generator: torch.Generator,
) -> None:
    """Fit one slot's codebooks to latents [N, width] of its members; `whole` marks switches."""
    residual, counts = torch.cat(parts), list(map(len, parts))
    width, first = residual.shape[1], int(slot < config.semantic_slots)
    for level in range(config.num_quantizers):
        _note_errors(fitted, level, slot, members, residual.split(counts))
        if level < first or not width:
            continue
        worth = water_fill(residual.square().mean(0), math.log2(config.codebook_size)) > 0
        worth = worth | whole if level == first else worth
        codebook = _fit_codebook(residual[:, worth], level - first, config, recipe, generator)
        index, _ = nearest(residual[:, worth], codebook)
        residual[:, worth] = residual[:, worth] - codebook[index]
        fitted.codebooks[level, slot][:, torch.where(worth)[0]] = codebook
        fitted.support[level, slot, :width] = worth
        counted = torch.bincount(index, minlength=config.codebook_size)
        fitted.usage[level, slot] = counted / len(residual)
    _note_errors(fitted, config.num_quantizers, slot, members, residual.split(counts))


def _note_errors(
    fitted: FittedCodebooks, level: int, slot: int, members: list[int], parts: Sequence[Tensor]
) -> None:
    for robot, part in zip(members, parts, strict=True):
        fitted.errors[robot, level, slot, : part.shape[1]] = part.square().mean(0).sqrt()


def _fit_codebook(
    residual: Tensor,
    level: int,
    config: TokenizerConfig,
    recipe: ClosedFormRecipe,
    generator: torch.Generator,
) -> Tensor:
    """One codebook [V, C] on [N, C], the windows joined by copies with random signs and sizes."""
    few = len(residual) < FEW_WINDOWS * config.codebook_size
    wanted = recipe.samples_per_code * config.codebook_size / len(residual)
    copies = min(MOST_COPIES, math.ceil(wanted) - 1) if level or few else 0
    samples = [residual]
    for _ in range(copies):
        signs = torch.randint(0, 2, residual.shape, generator=generator) * 2.0 - 1.0
        sizes = torch.exp(COPY_SPREAD * torch.randn(len(residual), 1, generator=generator))
        samples.append(residual * signs * sizes)
    return kmeans(torch.cat(samples), config.codebook_size, recipe.iterations, generator)
