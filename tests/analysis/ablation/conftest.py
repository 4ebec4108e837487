"""Rows with made-up figures: what differs is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.ablation.sums import Curve, Measured, Ratio
from analysis.stability import SIGMAS
from tokenizer_training.ablation.row import AblationRow

EPISODES = np.arange(3, 11)
BY = {"protocol": 1, "features": "abc", "galleries": 3}


def measured(found: np.ndarray | float, error: float, tokens: int = 4, by: Any = BY) -> Measured:
    """Figures of a run.

    Args:
        found: [E] or one: share of 20 queries per episode that find their pictures.
        error: Mean squared error of the first token; a tenth of it for every further one.
        tokens: Of ten bits each.
        by: What it was measured with.
    """
    queries, values = np.full(len(EPISODES), 20.0), np.full(len(EPISODES), 100.0)
    share = Ratio(found * queries, queries)
    names = ["retrieval_r1", "retrieval_r1_first", "next_frame_skill", "token_overlap"]
    names += [f"noise_wer_{sigma:g}" for sigma in SIGMAS]
    mse = error * 0.1 ** np.arange(tokens)
    curve = Curve(10.0 * np.arange(1, tokens + 1), mse[:, None] * values, values)
    ratios = dict.fromkeys(names, share) | {"mse": Ratio(curve.squared_error[-1], values)}
    return Measured(by, EPISODES, 2, 10.0 * tokens, 250.0, ratios, curve)


@pytest.fixture
def row_of() -> Callable[..., AblationRow]:
    """A row of a recipe with a seed; what is measured may be given."""

    def row(recipe: str, seed: int = 0, figures: Measured | None = None, **others) -> AblationRow:
        known: dict[str, Any] = {
            "parent": "base" if recipe == "plain_rvq" else "aligned",
            "differs": {},
            "settings": {"seed_everything": seed},
            "teacher": "pixels",
            "tokens": 4,
            "levels": 2,
            "codebook_size": 1024,
            "steps": 400,
            "best_step": 300,
            "seconds": 100.0 + seed,
            "figures": {"validation/mse": 0.25},
            "measured": None if figures is None else figures.to_dict(),
        }
        return AblationRow(recipe=recipe, seed=seed, dataset="arm", **{**known, **others})

    return row
