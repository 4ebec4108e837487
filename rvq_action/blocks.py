"""Building blocks of the networks: conditioning and residual blocks that start as nothing."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from rvq_action.derived import Derived


def full_precision(tensor: Tensor) -> AbstractContextManager:
    """Autocast switched off where rounding would decide codes, or move a robot.

    That is the linear path and the way between physical units and model space, rotations included;
    what may round are the networks.
    """
    kind = tensor.device.type
    if not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


@dataclass(frozen=True)
class Condition:
    """What the network may know beside the chunk; each of the first two may be absent.

    Attributes:
        anchor: [B, D] normalised proprio, masked entries 0, or None.
        anchor_mask: bool [B, D], False where (or for whom) the anchor is absent, or None.
        embodiment: int64 [B], 0 = none.
        duration: [B] seconds covered by the chunk.
        path: Whose linear path the chunks take, which nothing withholds.
        heard: What the decoder's network makes of all this, [B, n] each, where many codes are to be
            decoded under one condition (`Decoder.hear`); empty where it is still to be asked.
    """

    anchor: Tensor | None
    anchor_mask: Tensor | None
    embodiment: Tensor
    duration: Tensor
    path: int = 0
    heard: tuple[Tensor, ...] = ()

    def rows(self, rows: Tensor) -> Condition:
        """The condition of some chunks of the batch, int64 [n]."""
        anchor = None if self.anchor is None else self.anchor[rows]
        mask = None if self.anchor_mask is None else self.anchor_mask[rows]
        heard = tuple(tensor[rows] for tensor in self.heard)
        return Condition(anchor, mask, self.embodiment[rows], self.duration[rows], self.path, heard)


class ConditionEmbedding(nn.Module):
    """Condition -> [B, H]."""

    def __init__(self, width: int, num_embodiments: int, hidden: int) -> None:
        super().__init__()
        self.width = width
        self.anchor = nn.Linear(2 * width, hidden)
        self.embodiment = nn.Embedding(num_embodiments + 1, hidden)
        self.duration = nn.Linear(1, hidden)

    def forward(self, condition: Condition) -> Tensor:
        if condition.anchor is None or condition.anchor_mask is None:
            anchor = condition.duration.new_zeros(len(condition.duration), 2 * self.width)
        else:
            known = condition.anchor_mask.to(condition.anchor.dtype)
            anchor = torch.cat([condition.anchor * known, known], dim=-1)
        duration = condition.duration.clamp(min=1e-3).log2()[:, None]
        return self.anchor(anchor) + self.embodiment(condition.embodiment) + self.duration(duration)


class ConditionedBlock(nn.Module):
    """Residual MLP block whose normalised input is scaled and shifted by the condition."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)
        self.modulation = nn.Linear(hidden, 2 * hidden)
        self.mlp = nn.Sequential(
            nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden)
        )
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        scale, shift = modulation.chunk(2, dim=-1)
        return x + self.mlp(self.norm(x) * (1 + scale) + shift)


class ResidualNetwork(nn.Module):
    """[B, in] and [B, H] -> [B, out], exactly zero before training.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        hidden: H.
        depth: Number of blocks; with 0 the output stays zero.
        dropout: In front of every block, in training.
    """

    def __init__(
        self, in_features: int, out_features: int, hidden: int, depth: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.enter = nn.Linear(in_features, hidden)
        self.blocks = nn.ModuleList(ConditionedBlock(hidden) for _ in range(depth))
        self.leave = nn.Linear(hidden, out_features)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self._silent: Derived[bool] = Derived()

    @property
    def is_silent(self) -> bool:
        """Whether the output is 0 whatever the input, so that nobody need ask for it.

        So it is before training, and for good in a half that a recipe leaves at its closed form.
        Always False where gradients are recorded, for these are not 0, and in a compiled graph.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return False
        last = (self.leave.weight, self.leave.bias)
        return self._silent.get(last, lambda: not any(bool(t.any()) for t in last))

    def train(self, mode: bool = True) -> ResidualNetwork:
        """Training begins or ends: fused optimizers move weights without counting versions."""
        self._silent.forget()
        return super().train(mode)

    def hear(self, condition: Tensor) -> tuple[Tensor, ...]:
        """The condition [B, H], and what each block makes of it, [B, 2H]."""
        blocks = cast("Iterable[ConditionedBlock]", self.blocks)
        return (condition, *(block.modulation(condition) for block in blocks))

    def say(self, x: Tensor, heard: tuple[Tensor, ...]) -> Tensor:
        """[B, in] under what was heard -> [B, out]."""
        hidden = self.enter(x) + heard[0]
        for block, modulation in zip(self.blocks, heard[1:], strict=True):
            hidden = block(self.dropout(hidden), modulation)
        return self.leave(hidden)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.say(x, self.hear(condition))
