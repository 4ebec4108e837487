"""The gradient bridge: how much of the backbone's gradient each term gives, and how they meet.

    share of a term    |w g| / sum over terms of |w g|, g its gradient in the VL Expert's weights
    cosine of two      of their gradients; above 0 they pull the same way

on one micro-batch, the terms weighted as in the loss. `rvq-analysis gradients` draws the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from torch import Tensor

from rvq_action.housekeeping.divergence import global_norm


@dataclass(frozen=True)
class Gradients:
    """One look at the terms' gradients in the VL Expert.

    Attributes:
        step: Steps taken before.
        norms: Term -> norm of its weighted gradient.
        shares: Term -> share of the sum of norms.
        cosines: `term~term` -> cosine; without pairs of which one has no gradient.
    """

    step: int
    norms: dict[str, float]
    shares: dict[str, float]
    cosines: dict[str, float]


def compare_gradients(step: int, gradients: dict[str, list[Tensor | None]]) -> Gradients:
    """Norms, shares and cosines.

    Args:
        step: Steps taken before.
        gradients: Term -> its weighted gradient in each parameter; None where it has none.
    """
    norms = {name: _number(global_norm(found)) for name, found in gradients.items()}
    total = sum(norms.values())
    shares = {name: norm / total if total else 0.0 for name, norm in norms.items()}
    cosines = {}
    for first, second in combinations(gradients, 2):
        if norms[first] and norms[second]:
            product = _dot(gradients[first], gradients[second])
            cosines[f"{first}~{second}"] = product / (norms[first] * norms[second])
    return Gradients(step, norms, shares, cosines)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines of the file; a last one that a kill cut off is left out."""
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def _dot(first: list[Tensor | None], second: list[Tensor | None]) -> float:
    pairs = zip(first, second, strict=True)
    both = [(a * b).sum() for a, b in pairs if a is not None and b is not None]
    return _number(sum(both[1:], both[0])) if both else 0.0


def _number(value: Any) -> float:
    return float(value.full_tensor() if hasattr(value, "full_tensor") else value)
