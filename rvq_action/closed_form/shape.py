"""The shape of a tokenizer that linear paths lead into."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import pad

from rvq_action.closed_form.linear_path import LinearPath
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.config import TokenizerConfig


def shape_of(
    paths: Sequence[LinearPath], width: int, recipe: ClosedFormRecipe, codebook_size: int
) -> TokenizerConfig:
    """The tokenizer that has room for all of the paths.

    Args:
        paths: One per robot.
        width: D.
        recipe: What to make.
        codebook_size: V, as many as the windows are enough for.
    """
    return TokenizerConfig(
        width=width,
        num_frequencies=len(paths[0].transform.mean) // width,
        num_slots=max(len(path.chosen) for path in paths),
        slot_width=max(_slot_width(path, recipe) for path in paths),
        num_quantizers=recipe.num_quantizers,
        codebook_size=codebook_size,
        num_embodiments=len(paths),
        hidden=recipe.hidden,
        depth=recipe.depth,
        token_order=recipe.token_order,
        semantic_slots=recipe.semantic_slots,
        semantic_width=recipe.semantic_width if recipe.semantic_slots else 0,
        path_slots=tuple(len(path.chosen) for path in paths),
    )


def widened(latents: Tensor, config: TokenizerConfig) -> Tensor:
    """[..., C of one robot] -> [..., C]."""
    return pad(latents, (0, config.slot_width - latents.shape[-1]))


def _slot_width(path: LinearPath, recipe: ClosedFormRecipe) -> int:
    """Latents that the robot's widest slot needs."""
    counts = path.filled.sum(-1)
    counts[: recipe.semantic_slots] += recipe.semantic_width
    return int(counts.max())
