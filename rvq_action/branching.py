"""When a function may look at the values it computes with, to take a shorter way."""

from __future__ import annotations

import torch
from torch import Tensor


def may_look(tensor: Tensor) -> bool:
    """Whether a branch on a tensor's values is cheap and leaves nothing out.

    On a GPU it would wait for all work before it; in a graph that is compiled or exported there is
    nothing to look at yet. Both take the way that is right for all values.
    """
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
