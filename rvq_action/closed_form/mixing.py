"""Whether a robot's channels share components: some of its own windows decide.

Components of all channels need the fewest numbers where channels move together. Where each moves at
a time of its own they make many middling numbers out of a few large ones, and take for a rule what
channels once did together by chance. So both ways are fitted to most of the windows, with smaller
codebooks, and that one is taken whose prefixes leave less over of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from rvq_action.closed_form.allocation import largest_power_of_two
from rvq_action.closed_form.codebook_fit import fit_codebooks
from rvq_action.closed_form.kmeans import nearest
from rvq_action.closed_form.linear_path import LinearPath
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.closed_form.shape import shape_of, widened

FOLDS = 3
"""Each third of the windows is judged once, in one piece: neighbours show nearly the same."""
MOST_FITTED, MOST_JUDGED, LEAST_JUDGED = 4000, 1000, 50
QUICK_ITERATIONS, QUICK_SAMPLES_PER_CODE = 2, 8
SMALLEST = 1e-12

Fit = Callable[[Tensor, bool], LinearPath]
"""Samples [N, P], and whether channels are apart -> the path fitted to them."""


def better_apart(samples: Tensor, width: int, fit: Fit, recipe: ClosedFormRecipe) -> bool:
    """Whether components of single channels leave less over than those of all.

    They are not where there are too few windows to tell.

    Args:
        samples: [N, P] cosine components of one robot's windows, episode after episode.
        width: D.
        fit: Of the path.
        recipe: What is to be made.
    """
    if len(samples) < FOLDS * LEAST_JUDGED:
        return False
    quick = replace(
        recipe,
        iterations=min(QUICK_ITERATIONS, recipe.iterations),
        samples_per_code=min(QUICK_SAMPLES_PER_CODE, recipe.samples_per_code),
    )
    fold = torch.arange(len(samples)) * FOLDS // len(samples)
    worse = 0.0
    for judges in (fold == number for number in range(FOLDS)):
        fitted, judged = samples[~judges], samples[judges]
        fitted, judged = _thinned(fitted, MOST_FITTED), _thinned(judged, MOST_JUDGED)
        together, apart = (
            _left_over(fit(fitted, apart), fitted, judged, width, quick) for apart in (False, True)
        )
        worse += apart - together
    return worse < 0


def _left_over(
    path: LinearPath, fitted: Tensor, judged: Tensor, width: int, recipe: ClosedFormRecipe
) -> float:
    """Mean over the levels of the logarithm of what is left over of the judged samples [M, P]."""
    size = largest_power_of_two(len(fitted) / recipe.windows_per_code)
    config = shape_of([path], width, recipe, min(recipe.codebook_size, max(16, size)))
    generator = torch.Generator().manual_seed(recipe.seed)
    latents = [widened(path.latents(fitted), config)]
    codebooks = fit_codebooks(latents, [path], config, recipe, generator).codebooks
    rest = widened(path.latents(judged), config)
    dropped = (judged - path.transform.mean).square().sum() - rest.square().sum()
    left = []
    for level in codebooks:
        for slot, codebook in enumerate(level):
            index, _ = nearest(rest[:, slot], codebook)
            rest[:, slot] -= codebook[index]
        left.append((dropped + rest.square().sum()).clamp(min=SMALLEST))
    return float(torch.stack(left).log().mean())


def _thinned(samples: Tensor, most: int) -> Tensor:
    """At most so many samples, evenly spread."""
    kept = torch.linspace(0, len(samples) - 1, min(len(samples), most)).round().long()
    return samples[kept]
