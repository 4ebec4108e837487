"""The closed form: a whole tokenizer within seconds, and the start from which a network trains.

1. *Transform.* Principal components of the chunks' cosine components. A channel that only ever
   takes two values (a switched gripper) keeps its own components, because a step is spread over
   many principal ones but has only a few dozen shapes.
2. *Allocation.* Reverse water-filling says how many bits a component is worth; components are
   dealt out to the slots so that each carries the same number of bits.
3. *Codebooks.* k-means per slot and level on what the levels above left over, at each level on
   the components worth bits there. From the second level on (on the first too, where windows
   are few) the samples are joined by copies with random signs and sizes: what is left over has
   no preferred sign, and the copies keep the codebooks from learning the windows by heart.

The number of tokens follows the robot: `slots_per_channel` slots per moving channel, K levels; or
it is a budget, the same for every robot: `slots` in all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rvq_action.allocation import deal, largest_power_of_two, water_fill
from rvq_action.calibration import calibrated
from rvq_action.chunk import ActionChunk
from rvq_action.config import TokenizerConfig
from rvq_action.embodiment import Embodiment
from rvq_action.kmeans import kmeans, nearest
from rvq_action.model import TokenizerModel
from rvq_action.quantizer import MOVING_AVERAGE_SAMPLES
from rvq_action.recipe import ClosedFormRecipe
from rvq_action.semantic import LEVEL
from rvq_action.semantic_codebooks import fit_semantic_codebooks
from rvq_action.time_basis import fill_masked, to_frequencies
from rvq_action.tokenizer import ActionTokenizer
from rvq_action.transform import (
    Transform,
    Windows,
    binary_patterns,
    fit_transform,
    moving_channels,
)

FEW_WINDOWS = 8
CALIBRATION_WINDOWS = 2048
MOST_COPIES, COPY_SPREAD = 15, 0.2
SMALLEST_SCALE, SMALLEST_ERROR = 1e-4, 1e-5


def fit_model(windows: list[Windows], recipe: ClosedFormRecipe) -> TokenizerModel:
    """Fit the closed form and wrap it in a model whose networks are still zero.

    Args:
        windows: One entry per embodiment, all of the same width.
        recipe: What to make.

    Raises:
        ValueError: No window at all, or nothing in them ever moves.
    """
    if not sum(len(w.x) for w in windows):
        raise ValueError("No window to fit on. Add episodes, or shorten the horizon.")
    frequencies = min(recipe.max_frequencies, max(w.x.shape[1] for w in windows))
    parts = [to_frequencies(fill_masked(w.x, w.mask), frequencies).flatten(1) for w in windows]
    samples = torch.cat(parts)
    moving = max(moving_channels(w) for w in windows)
    if not moving:
        raise ValueError("No channel ever moves in these windows; there is nothing to encode.")
    generator = torch.Generator().manual_seed(recipe.seed)
    width = windows[0].x.shape[2]
    transform = fit_transform(samples, binary_patterns(windows), width)
    slots = recipe.slots or max(
        2, recipe.semantic_slots + 1, round(recipe.slots_per_channel * moving)
    )
    size = min(recipe.codebook_size, max(16, largest_power_of_two(len(samples) / 4)))
    levels = [recipe.num_quantizers - (slot < recipe.semantic_slots) for slot in range(slots)]
    chosen = _allocate(samples, transform, levels, math.log2(size))
    config = TokenizerConfig(
        width=width,
        num_frequencies=frequencies,
        num_slots=len(chosen),
        slot_width=_slot_width(chosen, recipe),
        num_quantizers=recipe.num_quantizers,
        codebook_size=size,
        num_embodiments=len(windows),
        hidden=recipe.hidden,
        depth=recipe.depth,
        token_order=recipe.token_order,
        semantic_slots=recipe.semantic_slots,
        semantic_width=recipe.semantic_width if recipe.semantic_slots else 0,
    )
    keep = torch.randperm(len(samples), generator=generator)[: recipe.max_windows]
    latents = (samples[keep] - transform.mean) @ transform.components.T
    return _build(config, transform, chosen, latents, recipe, generator)


def fit_closed_form(
    samples: list[ActionChunk],
    embodiments: dict[str, Embodiment],
    recipe: ClosedFormRecipe,
    metadata: dict | None = None,
) -> ActionTokenizer:
    """A tokenizer without a gradient step.

    Args:
        samples: Windows to fit on, one batch per embodiment.
        embodiments: Layout and statistics by name.
        recipe: What to make.
        metadata: Provenance to store, JSON types only.

    Raises:
        ValueError: Not one batch per embodiment, no window at all, or nothing ever moves.
    """
    names = [chunk.embodiment for chunk in samples]
    if not names or sorted(names) != sorted(embodiments):
        raise ValueError(
            f"Give one batch of windows per embodiment: got {names} for the embodiments "
            f"{sorted(embodiments)}."
        )
    width = max(e.layout.width for e in embodiments.values())
    number = {name: row for row, name in enumerate(embodiments, start=1)}
    inputs = [
        embodiments[c.embodiment].to_model(c, number[c.embodiment], width, relative=False)
        for c in samples
    ]
    model = fit_model([Windows(given.x, given.mask) for given in inputs], recipe)
    if model.semantic is not None:
        generator = torch.Generator().manual_seed(recipe.seed)
        fitted = fit_semantic_codebooks(model, inputs, recipe.iterations, generator, fresh=True)
        model.quantizer.set_semantic(*fitted)
    few = [chunk.rows(_spread(len(chunk), CALIBRATION_WINDOWS)) for chunk in samples]
    return calibrated(ActionTokenizer(model, embodiments, metadata or {}), few)


def _spread(count: int, most: int) -> Tensor:
    """int64, at most so many of `count` positions, evenly spread."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


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


def _slot_width(chosen: list[list[int]], recipe: ClosedFormRecipe) -> int:
    """Latents that the widest slot needs."""
    semantic = [len(slot) + recipe.semantic_width for slot in chosen[: recipe.semantic_slots]]
    return max([*map(len, chosen), *semantic])


def _build(
    config: TokenizerConfig,
    transform: Transform,
    chosen: list[list[int]],
    latents: Tensor,
    recipe: ClosedFormRecipe,
    generator: torch.Generator,
) -> TokenizerModel:
    shape = (config.num_quantizers, config.num_slots)
    codebooks = torch.zeros(*shape, config.codebook_size, config.slot_width)
    support = torch.zeros(*shape, config.slot_width, dtype=torch.bool)
    usage = torch.zeros(*shape, config.codebook_size)
    components = torch.zeros(config.num_slots, config.slot_width, latents.shape[1])
    scale = torch.ones(config.num_slots, config.slot_width)
    error = torch.full((config.num_quantizers + 1, *scale.shape), SMALLEST_ERROR)
    blocks = {i for block in transform.blocks for i in block}
    for slot, indices in enumerate(chosen):
        width, first = len(indices), int(slot < config.semantic_slots)
        components[slot, :width] = transform.components[indices]
        whole = torch.tensor([i in blocks for i in indices], dtype=torch.bool)
        residual = latents[:, indices]
        scale[slot, :width] = residual.square().mean(0).sqrt().clamp(min=SMALLEST_SCALE)
        for level in range(config.num_quantizers):
            error[level, slot, :width] = residual.square().mean(0).sqrt()
            if level < first or not indices:
                continue
            worth = water_fill(residual.square().mean(0), math.log2(config.codebook_size)) > 0
            worth = worth | whole if level == first else worth
            fitted = _fit_codebook(residual[:, worth], level - first, config, recipe, generator)
            index, _ = nearest(residual[:, worth], fitted)
            residual[:, worth] = residual[:, worth] - fitted[index]
            codebooks[level, slot][:, torch.where(worth)[0]] = fitted
            support[level, slot, :width] = worth
            usage[level, slot] = torch.bincount(index, minlength=config.codebook_size)
        error[-1, slot, :width] = residual.square().mean(0).sqrt()
    semantic = slice(config.semantic_slots), slice(config.slot_width - config.semantic_width, None)
    support[LEVEL][semantic] = True
    scale[semantic] = config.semantic_width**-0.5 if config.semantic_slots else 1.0
    usage = usage / len(latents) * MOVING_AVERAGE_SAMPLES
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = TokenizerModel(config)
    _install(model, transform.mean, components.flatten(0, 1), scale, error)
    model.quantizer.set_codebooks(codebooks, support, usage)
    return model.eval()


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


def _install(
    model: TokenizerModel, mean: Tensor, components: Tensor, scale: Tensor, error: Tensor
) -> None:
    for half in (model.encoder, model.decoder):
        half.mean.copy_(mean)
        half.components.copy_(components)
        half.latent_scale.copy_(scale.flatten())
    if model.semantic is not None:
        model.semantic.scale.copy_(scale.flatten())
    model.encoder.error_scale.copy_(error[-1].flatten())
    model.decoder.error_scale.copy_(error.clamp(min=SMALLEST_ERROR))
