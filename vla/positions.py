"""Position triples of a sample's tokens and flow slots.

    system  user  [ image 2 x 3        ]  text  action tokens   flow slots
    0 1 2   3 4   t 5  5  5   5  5  5     8 9   10 11 12 13     10 11 12
                  h 5  5  5   6  6  6
                  w 5  6  7   5  6  7

An image takes one moment and its rows and columns count from there; what follows goes on behind its
longer side. **Flow slots start where the action tokens start**, so that leaving the tokens out, as
at inference, moves nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vla.tokens import TokenType


class Positions(NamedTuple):
    """tokens int64 [3, n] and slots int64 [3, T]: temporal, height, width."""

    tokens: Tensor
    slots: Tensor


def locate(types: Tensor, grids: Tensor, merge: int, horizon: int) -> Positions:
    """Positions of one sample without padding.

    Args:
        types: int64 [n], a TokenType each.
        grids: int64 [I, 3], patches of every image in time, height and width.
        merge: Patches per side that one token stands for.
        horizon: T, flow slots.
    """
    spans, begin, now = [], 0, 0
    for start, grid in zip(_image_starts(types, grids, merge), grids.tolist(), strict=True):
        spans.append(_text(start - begin, now))
        now += start - begin
        image = _image(grid, merge)
        spans.append(image + now)
        begin = start + image.shape[1]
        now += max(grid[1:]) // merge
    spans.append(_text(len(types) - begin, now))
    tokens = torch.cat(spans, dim=1)
    action = (types == TokenType.ACTION).nonzero().flatten()
    first = int(tokens[0, action[0]]) if len(action) else now + len(types) - begin
    return Positions(tokens, _text(horizon, first))


def _image_starts(types: Tensor, grids: Tensor, merge: int) -> list[int]:
    """Where in the sequence each image begins."""
    places = (types == TokenType.IMAGE).nonzero().flatten()
    sizes = grids.prod(1) // merge**2
    assert len(places) == int(sizes.sum()), "image tokens and image grids must agree"
    return places[sizes.cumsum(0) - sizes].tolist()


def _text(count: int, first: int) -> Tensor:
    return torch.arange(first, first + count).expand(3, count)


def _image(grid: list[int], merge: int) -> Tensor:
    time, height, width = grid[0], grid[1] // merge, grid[2] // merge
    axes = torch.arange(time), torch.arange(height), torch.arange(width)
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
