"""From what is being trained to the weights that ship: averaged and in one piece."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vla.training.average import Average
from vla.training.lora import merged

EXPERTS = ("vl_expert.", "mot.")
"""What `VLAModel.cast` casts."""


@torch.no_grad()
def shipped_weights(
    model: nn.Module, average: Average | None, dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """All weights of a network by name, on the CPU, adapters merged. Every process must call this.

    Args:
        model: What is trained.
        average: Its averages, which take the place of the weights where given.
        dtype: Of the experts' weights, if another than that in which they are trained.
    """
    averages = {} if average is None else average.lookup()
    whole: dict[int, Tensor] = {}
    weights = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in whole:  # tied weights stay tied
            whole[id(tensor)] = in_one_piece(averages.get(id(tensor), tensor))
        weights[name] = whole[id(tensor)]
    plain = merged(model, weights)
    if dtype is None:
        return plain
    cast: dict[int, Tensor] = {}
    for name, weight in plain.items():
        if name.startswith(EXPERTS) and weight.is_floating_point():
            plain[name] = cast.setdefault(id(weight), weight.to(dtype))
    return plain


def in_one_piece(tensor: Any) -> Tensor:
    """A tensor, gathered where processes hold parts of it, on the CPU and of its own memory."""
    whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole.detach().to("cpu", copy=True)
