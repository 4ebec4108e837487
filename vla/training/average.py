"""The moving average of the weights, which is what is exported.

Lightning's own (`EMAWeightAveraging`) copies the whole module, walks it in Python at every step and
knows no sharded parameters. Here the averages are parameters of the module beside the weights: a
checkpoint holds them, a strategy shards them, and one fused step moves them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average(nn.Module):
    """Averages of the parameters that are trained.

    Args:
        model: Whose; call again when its parameters are replaced.
        decay: Of the average; early steps use less, so that the random start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self._model = [model]  # in a list, so that it is not registered a second time
        copies = [p.detach().clone() for p in self.followed()]
        self.averages = nn.ParameterList(nn.Parameter(c, requires_grad=False) for c in copies)

    def followed(self) -> list[nn.Parameter]:
        """The parameters that are averaged."""
        return [p for p in self._model[0].parameters() if p.requires_grad]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the weights after a step, counted from 1."""
        share = 1 - min(self.decay, step / (step + 10))
        new = [p.detach() for p in self.followed()]
        torch._foreach_lerp_([p.data for p in self.averages], new, share)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange weights and averages, to the bit; a second time undoes it."""
        for parameter, average in zip(self.followed(), self.averages, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)

    def lookup(self) -> dict[int, Tensor]:
        """id of a parameter -> its average."""
        pairs = zip(self.followed(), self.averages, strict=True)
        return {id(parameter): average.data for parameter, average in pairs}
