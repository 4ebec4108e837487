"""The vision tower for pictures of known sizes: what follows from the sizes is worked out once.

transformers runs the attention of every window by itself and reads the lengths from the device.
Here windows of one size stand side by side in one attention; where sizes differ the shorter ones
are padded. The modules, and so the weights, are the tower's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence

Grid = tuple[int, int, int]
"""Patches of a picture in time, height and width."""


@dataclass(frozen=True)
class Segments:
    """Runs of patches, one behind the other, that see one another and nobody else.

    Attributes:
        count: S, how many.
        index: int64 [S, M], the patches of each, the shorter ones padded; None where all are alike.
        mask: bool [S, 1, 1, M], False where padded.
        back: int64 [P], where in [S · M] every patch is.
    """

    count: int
    index: Tensor | None = None
    mask: Tensor | None = None
    back: Tensor | None = None

    @classmethod
    def of(cls, names: Tensor) -> Segments:
        """Runs of equal names int64 [P]."""
        lengths = names.unique_consecutive(return_counts=True)[1].tolist()
        if len(set(lengths)) <= 1:
            return cls(len(lengths))
        runs = list(torch.arange(len(names), device=names.device).split(lengths))
        index = pad_sequence(runs, batch_first=True)
        real = pad_sequence([torch.ones_like(run, dtype=torch.bool) for run in runs], True)
        return cls(len(lengths), index, real[:, None, None, :], real.flatten().nonzero().flatten())

    def spread(self, x: Tensor) -> Tensor:
        """[P, ...] -> [S, M, ...]."""
        return x.unflatten(0, (self.count, -1)) if self.index is None else x[self.index]

    def gather(self, x: Tensor) -> Tensor:
        """[S, M, ...] -> [P, ...]."""
        flat = x.flatten(0, 1)
        return flat if self.back is None else flat[self.back]


@dataclass(frozen=True)
class PicturePlan:
    """What follows from the sizes of the pictures.

    Attributes:
        order: int64 [U], merged patches window by window.
        back: int64 [U], and where each of them went.
        cos: float32 [P, 1, head_dim], of every patch's angles, window by window.
        sin: Of the same.
        windows: Who sees whom in most layers.
        pictures: And in the layers with full attention.
    """

    order: Tensor
    back: Tensor
    cos: Tensor
    sin: Tensor
    windows: Segments
    pictures: Segments

    @classmethod
    def of(cls, visual: Any, grids: Sequence[Grid], device: torch.device) -> PicturePlan:
        """For a vision tower and the pictures of a whole batch."""
        merge = visual.spatial_merge_size
        side = visual.window_size // merge // visual.patch_size
        units = torch.cat([_units(n, grid, merge) for n, grid in enumerate(grids)]).to(device)
        window = torch.cat([units[:, :2], units[:, 2:] // side], dim=1)
        order = _name_rows(window).argsort(stable=True)
        units, window = units[order], window[order]
        inside = torch.cartesian_prod(torch.arange(merge), torch.arange(merge)).to(device)
        places = (units[:, None, 2:] * merge + inside).flatten(0, 1)
        angles = (places[..., None] * visual.rotary_pos_emb.inv_freq.float()).flatten(1)
        angles = angles.repeat(1, 2).unsqueeze(1)
        windows, pictures = (
            Segments.of(_name_rows(rows).repeat_interleave(merge**2))
            for rows in (window, window[:, :2])
        )
        return cls(order, order.argsort(), angles.cos(), angles.sin(), windows, pictures)


def see(visual: Any, pixels: Tensor, plan: PicturePlan) -> Tensor:
    """The tokens [U, width] of all pictures, from their patches [P, patch]."""
    weight = visual.patch_embed.proj.weight
    x = linear(pixels.to(weight.dtype), weight.flatten(1))
    x = x.unflatten(0, (len(plan.order), -1))[plan.order].flatten(0, 1)
    for number, block in enumerate(visual.blocks):
        whole = number in visual.fullatt_block_indexes
        segments = plan.pictures if whole else plan.windows
        x = x + _attend(block.attn, block.norm1(x), plan, segments)
        x = x + block.mlp(block.norm2(x))
    return visual.merger(x)[plan.back]


def _attend(layer: Any, x: Tensor, plan: PicturePlan, segments: Segments) -> Tensor:
    projected = layer.qkv(x).unflatten(-1, (3 * layer.num_heads, -1))
    turning, value = projected.split([2 * layer.num_heads, layer.num_heads], dim=1)
    first, second = turning.float().chunk(2, dim=-1)
    turned = turning.float() * plan.cos + torch.cat([-second, first], dim=-1) * plan.sin
    query, key = turned.to(x.dtype).chunk(2, dim=1)
    query, key, value = (segments.spread(x).transpose(1, 2) for x in (query, key, value))
    attended = scaled_dot_product_attention(query, key, value, attn_mask=segments.mask)
    return layer.proj(segments.gather(attended.transpose(1, 2)).flatten(1))


def _units(number: int, grid: Grid, merge: int) -> Tensor:
    """Of every merged patch: picture, moment, row and column."""
    time, height, width = grid[0], grid[1] // merge, grid[2] // merge
    axes = (torch.arange(size) for size in (1, time, height, width))
    units = torch.cartesian_prod(*axes)
    units[:, 0] = number
    return units


def _name_rows(rows: Tensor) -> Tensor:
    """One number for equal rows, rising as they do."""
    return rows.unique(dim=0, return_inverse=True)[1]
