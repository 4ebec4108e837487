"""The data contract: a Sample is one sequence, a Batch is what the model takes.

    VL Expert, L tokens                                                          Action Expert, T
    system: robot | user: pictures, instruction, state | assistant: action tokens   flow slots
    system        | user: pictures, question           | assistant: answer          (none)

Letters: B batch, L tokens, T flow slots (frames of a chunk), D channels of the action tokenizer's
model space, I pictures and P patches of the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from vla.positions import locate
from vla.tokens import TokenType

UNLABELLED = -100


@dataclass(frozen=True)
class Sample:
    """One sequence without padding, on the CPU.

    Attributes:
        ids: int64 [L], token ids.
        types: int64 [L], a TokenType each.
        labels: int64 [L], the id where it is to be predicted (from the token before), else -100.
        pixels: float32 [P, patch], patches of the pictures; [0, 0] without any.
        grids: int64 [I, 3], patches of every picture in time, height and width, in the order of
            the IMAGE tokens.
        proprio: float32 [D], the robot's state, normalised by the tokenizer; 0 where unknown.
        proprio_mask: bool [D], True = known.
        actions: float32 [T, D] in the tokenizer's model space (relative, normalised by the
            embodiment's statistics), masked entries 0; T = 0 without flow slots.
        action_mask: bool [T, D], True = real: False for channels that the robot lacks and for
            frames behind an episode's end.
    """

    ids: Tensor
    types: Tensor
    labels: Tensor
    pixels: Tensor
    grids: Tensor
    proprio: Tensor
    proprio_mask: Tensor
    actions: Tensor
    action_mask: Tensor

    def __post_init__(self) -> None:
        assert self.ids.shape == self.types.shape == self.labels.shape and self.ids.ndim == 1
        assert self.actions.shape == self.action_mask.shape and self.actions.ndim == 2
        assert self.proprio.shape == self.proprio_mask.shape == self.actions.shape[1:]


@dataclass(frozen=True)
class Batch:
    """Samples side by side; those that are shorter are padded, on either side.

    Attributes:
        ids: int64 [B, L], token ids.
        types: int64 [B, L], a TokenType each; PADDING where there is none.
        labels: int64 [B, L], the id where it is to be predicted, else -100.
        positions: int64 [3, B, L], temporal, height and width; 0 at padding.
        slot_positions: int64 [3, B, T], of the flow slots.
        pixels: float32 [P, patch], patches of all pictures, sample by sample; None without any.
        grids: int64 [I, 3], patches of every picture; None without any. They decide shapes, and so
            they stay on the host.
        proprio: float32 [B, D], normalised; 0 where unknown.
        proprio_mask: bool [B, D], True = known.
        actions: float32 [B, T, D] in the tokenizer's model space; 0 where masked. T may be 0.
        action_mask: bool [B, T, D], True = real. A frame without a real channel is no flow slot.
        draws: How often the frames are there, one time behind the other, see `repeat_flow`.
    """

    ids: Tensor
    types: Tensor
    labels: Tensor
    positions: Tensor
    slot_positions: Tensor
    pixels: Tensor | None
    grids: Tensor | None
    proprio: Tensor
    proprio_mask: Tensor
    actions: Tensor
    action_mask: Tensor
    draws: int = 1

    def __len__(self) -> int:
        return self.ids.shape[0]

    @property
    def horizon(self) -> int:
        """T, flow slots of the longest sample."""
        return self.actions.shape[1]

    @property
    def slots(self) -> Tensor:
        """bool [B, T], the flow slots that are there."""
        return self.action_mask.any(-1)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device, but for the sizes of its pictures."""
        names = (entry.name for entry in fields(self) if entry.name != "grids")
        found = {name: getattr(self, name) for name in names}
        moved: dict[str, Any] = {n: t.to(device) for n, t in found.items() if isinstance(t, Tensor)}
        return replace(self, **moved)

    def repeat_flow(self, draws: int) -> Batch:
        """The same frames several times, for as many draws of noise and flow time.

        The tokens are read once for all of them, which is what costs most; the draws do not see
        one another (masks.py).
        """
        names = ("actions", "action_mask")
        actions, mask = (getattr(self, name).repeat(1, draws, 1) for name in names)
        places = self.slot_positions.repeat(1, 1, draws)
        return replace(self, actions=actions, action_mask=mask, slot_positions=places, draws=draws)


def collate(
    samples: Sequence[Sample], merge: int, padding: Literal["left", "right"] = "right"
) -> Batch:
    """Lay samples side by side.

    Args:
        samples: At least one, of one width D; any mixture of robots' and others.
        merge: Patches per side that one image token stands for, of the backbone.
        padding: Where shorter samples are padded.
    """
    placed = [locate(s.types, s.grids, merge, len(s.actions)) for s in samples]

    def tokens(rows: list[Tensor], fill: int) -> Tensor:
        return pad_sequence(rows, batch_first=True, padding_value=fill, padding_side=padding)

    def frames(rows: list[Tensor]) -> Tensor:
        return pad_sequence(rows, batch_first=True)

    shown = [s for s in samples if len(s.grids)]
    return Batch(
        ids=tokens([s.ids for s in samples], 0),
        types=tokens([s.types for s in samples], TokenType.PADDING),
        labels=tokens([s.labels for s in samples], UNLABELLED),
        positions=tokens([p.tokens.T for p in placed], 0).movedim(-1, 0),
        slot_positions=frames([p.slots.T for p in placed]).movedim(-1, 0),
        pixels=torch.cat([s.pixels for s in shown]) if shown else None,
        grids=torch.cat([s.grids for s in shown]) if shown else None,
        proprio=torch.stack([s.proprio for s in samples]),
        proprio_mask=torch.stack([s.proprio_mask for s in samples]),
        actions=frames([s.actions for s in samples]),
        action_mask=frames([s.action_mask for s in samples]),
    )


def shift_labels(labels: Tensor) -> Tensor:
    """Labels by the place that predicts them: int64 [B, L] -> int64 [B, L]."""
    return pad(labels[:, 1:], (0, 1), value=UNLABELLED)
