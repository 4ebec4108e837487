"""Greedy decoding of the VL Expert, token by token, with what was read kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vla.model import VLAModel
from vla.sequence import Batch


@torch.no_grad()
def continue_greedily(
    model: VLAModel, batch: Batch, allowed: Callable[[int], Tensor], end_id: int, limit: int
) -> list[int]:
    """The likeliest allowed token, again and again.

    Args:
        model: Reads and predicts.
        batch: One sequence without padding.
        allowed: Number of the token -> int64, the ids that it may be.
        end_id: Stops, and is not returned.
        limit: Most tokens to return.
    """
    assert len(batch) == 1, "token by token, one sequence at a time"
    hidden, past = model.read(batch)
    position = int(batch.positions.max()) + 1
    written: list[int] = []
    while True:
        ids = allowed(len(written)).to(hidden.device)
        choice = int(ids[model.logits(hidden[0, -1])[ids].argmax()])
        if choice == end_id:
            return written
        written.append(choice)
        if len(written) == limit:
            return written
        following = torch.tensor([[choice]], device=hidden.device)
        hidden, past = model.read_next(following, position + len(written) - 1, past)
