"""Greedy decoding of the VL Expert, token by token, with what was read kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from vla.model import VLAModel
from vla.sequence import Batch
from vla.tokens import TokenType

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_groups(
    items: Sequence[Item],
    keys: Sequence[int],
    do: Callable[[list[Item], int], Sequence[Result]],
) -> list[Result]:
    """What `do` makes of all items that have one key, for every key; in the items' order."""
    found: dict[int, Result] = {}
    for key in sorted(set(keys)):
        places = [place for place, own in enumerate(keys) if own == key]
        found |= zip(places, do([items[place] for place in places], key), strict=True)
    return [found[place] for place in range(len(items))]


@torch.no_grad()
def continue_greedily(
    model: VLAModel, batch: Batch, allowed: Callable[[int], Tensor], end_id: int, limit: int
) -> list[list[int]]:
    """The likeliest allowed token, again and again, of every sequence.

    Args:
        model: Reads and predicts.
        batch: Sequences that end together: padded on the left.
        allowed: Number of the token -> int64, the ids that it may be.
        end_id: Stops a sequence, and is not returned.
        limit: Most tokens to return.
    """
    real = batch.types != TokenType.PADDING
    assert bool(real[:, -1].all()), "what is padded on the right cannot go on"
    hidden, past = model.read(batch)
    first = batch.positions.amax((0, 2)) + 1
    written = torch.empty(len(batch), 0, dtype=torch.int64, device=hidden.device)
    going = torch.ones(len(batch), dtype=torch.bool, device=hidden.device)
    lengths = torch.zeros_like(going, dtype=torch.int64)
    while True:
        ids = allowed(written.shape[1]).to(hidden.device)
        choice = ids[model.logits(hidden[:, -1])[:, ids].argmax(-1)]
        going = going & (choice != end_id)
        written = torch.cat([written, choice[:, None]], dim=1)
        lengths = lengths + going
        if not going.any() or written.shape[1] == limit:
            rows = zip(written.tolist(), lengths.tolist(), strict=True)
            return [row[:length] for row, length in rows]
        position = first + written.shape[1] - 1
        hidden, past = model.read_next(choice[:, None], position, past, real)
