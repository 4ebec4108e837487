"""A tokenizer from normalised chunks alone, whatever their channels mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rvq_action.analytic import fit_closed_form
from rvq_action.chunk import ActionChunk
from rvq_action.closed_form.allocation import largest_power_of_two
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.embodiment import Embodiment
from rvq_action.inputs import read_rate
from rvq_action.layout import CHUNK_UNIT, DeltaRule, joint_space
from rvq_action.statistics import StatisticsBuilder
from rvq_action.tokenizer import ActionTokenizer

NAME = "chunks"
"""Of the embodiment."""
RECIPE = ClosedFormRecipe(depth=0)
"""Without the networks that nothing is going to train."""


def fit_chunks(
    chunks: Sequence[np.ndarray] | np.ndarray,
    fps: float | None = None,
    vocab_size: int | None = None,
    recipe: ClosedFormRecipe | None = None,
) -> ActionTokenizer:
    """The closed form on chunks.

    Args:
        chunks: N chunks [T, D] of one shape.
        fps: Their frames per second; T, a second each, where omitted.
        vocab_size: Number of token ids at most.
        recipe: What to make.

    Raises:
        ValueError: No chunk, chunks of several shapes, NaN or infinite values, nothing moves, or
            a vocabulary too small.
    """
    actions = _read(chunks)
    recipe = _within(recipe or RECIPE, vocab_size)
    horizon, width = actions.shape[1:]
    rate = float(horizon) if fps is None else read_rate(fps)
    mask = torch.ones_like(actions, dtype=torch.bool)
    chunk = ActionChunk(actions, mask, None, None, rate, NAME)
    layout = joint_space(width, unit=CHUNK_UNIT, delta=DeltaRule.RAW)
    builder = StatisticsBuilder(layout)
    builder.update(chunk)
    known = Embodiment(layout, builder.build(), rate)
    return fit_closed_form([chunk], {NAME: known}, recipe, {"seconds": horizon / rate})


def _read(chunks: Sequence[np.ndarray] | np.ndarray) -> Tensor:
    arrays = [np.asarray(chunk, dtype=np.float32) for chunk in chunks]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) != 1 or len(shapes[0]) != 2:
        raise ValueError(
            f"Fitting takes chunks [T, D] of one shape, got {len(arrays)} chunks of shapes "
            f"{shapes[:5]}. Cut them to one length, or fit on a dataset with `rvq-train fit`."
        )
    return torch.from_numpy(np.stack(arrays))


def _within(recipe: ClosedFormRecipe, vocab_size: int | None) -> ClosedFormRecipe:
    """The same recipe with codebooks small enough."""
    if vocab_size is None:
        return recipe
    levels = recipe.num_quantizers
    size = largest_power_of_two(vocab_size / levels) if vocab_size >= 16 * levels else 0
    if size < 16:
        raise ValueError(
            f"vocab_size={vocab_size} leaves {levels} levels fewer than 16 codes each. Give at "
            f"least {16 * levels}."
        )
    return replace(recipe, codebook_size=min(size, recipe.codebook_size))
