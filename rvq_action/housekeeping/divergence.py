"""A training whose numbers are none any more: what is looked at, and what is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def check_finite(step: int, found: Mapping[str, Tensor], kept: int, option: str) -> None:
    """Refuse to go on from what is no number; waits for the device once.

    Args:
        step: The one that is taken, counted from 1.
        found: Name -> scalar.
        kept: Step of the last checkpoint; 0 where there is none yet.
        option: Of the learning rate.

    Raises:
        FloatingPointError: Names the step, the number and the checkpoint.
    """
    numbers = torch.stack([value.detach().float() for value in found.values()])
    if numbers.isfinite().all():
        return
    pairs = zip(found, numbers.tolist(), strict=True)
    name, number = next(pair for pair in pairs if not -torch.inf < pair[1] < torch.inf)
    left = f"the last checkpoint, of step {kept}, is kept" if kept else "there is no checkpoint yet"
    raise FloatingPointError(
        f"step {step}: the {name} is {number}: the training has diverged; {left}. Lower {option}."
    )


def global_norm(tensors: Iterable[Tensor | None], order: float = 2.0) -> Tensor:
    """Norm of all tensors together, parts in other processes included; None and empty count as 0.

    Args:
        tensors: Gradients or weights.
        order: 2, or infinity for the largest number.
    """
    filled = [t for t in tensors if t is not None and t.numel()]
    total = torch.nn.utils.get_total_norm(filled, order)
    return total.full_tensor() if hasattr(total, "full_tensor") else total
