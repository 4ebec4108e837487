"""The closed form: a whole tokenizer within seconds, and the start from which a network trains.

1. *Transform.* Principal components of the chunks' cosine components, for every robot its own: of
   all channels together or of each one by itself, as some of its windows decide (`mixing`). A
   channel that only ever takes two values (a switched gripper) keeps its own components, because a
   step is spread over many principal ones but has only a few dozen shapes.
2. *Allocation.* Reverse water-filling says how many bits a component is worth; components are
   dealt out to the robot's slots so that each carries the same number of bits (`linear_path`).
3. *Codebooks.* k-means per slot and level, for all robots together (`codebook_fit`).

The number of tokens follows the robot: `slots_per_channel` slots per moving channel, K levels; or
it is a budget, the same for every robot: `slots` in all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rvq_action.chunk import ActionChunk
from rvq_action.closed_form.allocation import largest_power_of_two
from rvq_action.closed_form.codebook_fit import SMALLEST_ERROR, FittedCodebooks, fit_codebooks
from rvq_action.closed_form.linear_path import LinearPath, fit_path, shared_units, slots_for
from rvq_action.closed_form.mixing import better_apart
from rvq_action.closed_form.path_install import install_path
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.closed_form.semantic_codebooks import fit_semantic_codebooks
from rvq_action.closed_form.shape import shape_of, widened
from rvq_action.closed_form.transform import Windows, binary_patterns
from rvq_action.config import TokenizerConfig
from rvq_action.embodiment import Embodiment
from rvq_action.model import TokenizerModel
from rvq_action.novelty.calibration import calibrated
from rvq_action.quantizer import MOVING_AVERAGE_SAMPLES
from rvq_action.semantic import LEVEL
from rvq_action.time_basis import fill_masked, to_frequencies
from rvq_action.tokenizer import ActionTokenizer

CALIBRATION_WINDOWS = 2048


def fit_model(windows: list[Windows], recipe: ClosedFormRecipe) -> TokenizerModel:
    """Fit the closed form and wrap it in a model whose networks are still zero.

    Args:
        windows: One entry per embodiment, all of the same width.
        recipe: What to make.

    Raises:
        ValueError: No window of an embodiment at all, or nothing in them ever moves.
    """
    if not all(len(w.x) for w in windows):
        raise ValueError("No window to fit on. Add episodes, or shorten the horizon.")
    frequencies = min(recipe.max_frequencies, max(w.x.shape[1] for w in windows))
    samples = [to_frequencies(fill_masked(w.x, w.mask), frequencies).flatten(1) for w in windows]
    size = largest_power_of_two(sum(map(len, samples)) / recipe.windows_per_code)
    size = min(recipe.codebook_size, max(16, size))
    paths = [_fit_path(s, w, recipe, size) for s, w in zip(samples, windows, strict=True)]
    config = shape_of(paths, windows[0].x.shape[2], recipe, size)
    generator = torch.Generator().manual_seed(recipe.seed)
    units, latents = shared_units(paths), []
    for own, path, unit in zip(samples, paths, units, strict=True):
        keep = torch.randperm(len(own), generator=generator)[: recipe.max_windows]
        latents.append(widened(path.latents(own[keep]) / unit, config))
    fitted = fit_codebooks(latents, paths, config, recipe, generator)
    return _build(config, paths, units, fitted, recipe)


def _fit_path(samples: Tensor, windows: Windows, recipe: ClosedFormRecipe, size: int) -> LinearPath:
    moving = slots_for(windows, recipe.slots_per_channel, recipe.semantic_slots)
    slots = recipe.slots or moving
    levels = [recipe.num_quantizers - (slot < recipe.semantic_slots) for slot in range(slots)]
    patterns, width = binary_patterns([windows]), windows.x.shape[2]

    def fit(samples: Tensor, apart: bool) -> LinearPath:
        return fit_path(samples, width, patterns, levels, math.log2(size), apart)

    if recipe.channels == "auto":
        return fit(samples, better_apart(samples, width, fit, recipe))
    return fit(samples, recipe.channels == "apart")


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
        embodiments[c.embodiment].to_model(
            c, number[c.embodiment], width, relative=False, path=number[c.embodiment] - 1
        )
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


def _build(
    config: TokenizerConfig,
    paths: Sequence[LinearPath],
    units: Sequence[Tensor],
    fitted: FittedCodebooks,
    recipe: ClosedFormRecipe,
) -> TokenizerModel:
    semantic = slice(config.semantic_slots), slice(config.slot_width - config.semantic_width, None)
    fitted.support[LEVEL][semantic] = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = TokenizerModel(config)
    for number, (path, unit) in enumerate(zip(paths, units, strict=True)):
        install_path(model, number, path, unit, fitted.errors[number].clamp(min=SMALLEST_ERROR))
    usage = fitted.usage * MOVING_AVERAGE_SAMPLES
    model.quantizer.set_codebooks(fitted.codebooks, fitted.support, usage)
    return model.eval()
