"""The vision tower for pictures of known sizes: what follows from the sizes is worked out once.

transformers runs the attention of every window by itself and, in every layer, waits for the device
to say how long they are. Here windows of one size stand side by side in one attention; where sizes
differ the shorter ones are padded. The modules, and so the weights, are the tower's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface

SEGMENTED = "segmented"
"""Name of the attention within segments, for transformers."""
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
        runs = list(torch.arange(len(names)).split(lengths))
        index = pad_sequence(runs, batch_first=True)
        real = pad_sequence([torch.ones_like(run, dtype=torch.bool) for run in runs], True)
        return cls(len(lengths), index, real[:, None, None, :], real.flatten().nonzero().flatten())

    def to(self, device: torch.device) -> Segments:
        """The same on another device."""
        tensors = self.index, self.mask, self.back
        return Segments(self.count, *(t if t is None else t.to(device) for t in tensors))

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
        cos: float32 [P, head_dim], of every patch's angles, window by window.
        sin: Of the same.
        windows: Who sees whom in most layers.
        pictures: And in the layers with full attention.
        ends: int64 [2], 0 and P on the host: to transformers all patches are one run.
    """

    order: Tensor
    back: Tensor
    cos: Tensor
    sin: Tensor
    windows: Segments
    pictures: Segments
    ends: Tensor

    @classmethod
    def of(cls, visual: Any, grids: Sequence[Grid], device: torch.device) -> PicturePlan:
        """For a vision tower and the pictures of a whole batch; worked out on the host."""
        merge = visual.spatial_merge_size
        side = visual.window_size // merge // visual.patch_size
        units = torch.cat([_units(n, grid, merge) for n, grid in enumerate(grids)])
        window = torch.cat([units[:, :2], units[:, 2:] // side], dim=1)
        order = _name_rows(window).argsort(stable=True)
        units, window = units[order], window[order]
        inside = torch.cartesian_prod(torch.arange(merge), torch.arange(merge))
        places = (units[:, None, 2:] * merge + inside).flatten(0, 1)
        frequencies = visual.rotary_pos_emb.inv_freq.float().cpu()
        angles = (places[..., None] * frequencies).flatten(1)
        angles = angles.repeat(1, 2)
        windows, pictures = (
            Segments.of(_name_rows(rows).repeat_interleave(merge**2)).to(device)
            for rows in (window, window[:, :2])
        )
        tensors = order, order.argsort(), angles.cos(), angles.sin()
        ends = torch.tensor([0, len(angles)])
        order, back, cos, sin = (tensor.to(device) for tensor in tensors)
        return cls(order, back, cos, sin, windows, pictures, ends)


class PicturePlans:
    """The plans of the latest batches, since most have pictures of the same sizes.

    Args:
        capacity: Plans that are kept, tens of MB each for a batch of large pictures; the one used
            longest ago makes way.
    """

    def __init__(self, capacity: int = 8) -> None:
        self.capacity = capacity
        self._plans: dict[tuple[torch.device, tuple[Grid, ...]], PicturePlan] = {}

    def of(self, visual: Any, grids: Tensor, device: torch.device) -> PicturePlan:
        """The plan for pictures of sizes int64 [I, 3], which are on the host."""
        sizes = tuple((time, height, width) for time, height, width in grids.tolist())
        key = device, sizes
        plan = self._plans.pop(key, None)
        if plan is None:
            with torch.inference_mode(False):  # what a training step may look at, too
                plan = PicturePlan.of(visual, sizes, device)
        self._plans[key] = plan  # the latest is the last
        for old in list(self._plans)[: -self.capacity]:
            self._plans.pop(old, None)
        return plan


def see(visual: Any, pixels: Tensor, plan: PicturePlan) -> Tensor:
    """The tokens [U, width] of all pictures, from their patches [P, patch].

    Args:
        visual: transformers' vision tower, after `attend_side_by_side`.
        pixels: Of all pictures.
        plan: Of their sizes.
    """
    weight = visual.patch_embed.proj.weight
    x = linear(pixels.to(weight.dtype), weight.flatten(1))
    x = x.unflatten(0, (len(plan.order), -1))[plan.order].flatten(0, 1)
    told: dict[str, Any] = {"cu_seqlens": plan.ends, "position_embeddings": (plan.cos, plan.sin)}
    for number, block in enumerate(visual.blocks):
        full = number in visual.fullatt_block_indexes
        x = block(x, **told, segments=plan.pictures if full else plan.windows)
    return visual.merger(x)[plan.back]


def attend_side_by_side(visual: Any) -> None:
    """Let a vision tower attend within the segments that `see` tells it."""
    visual.config._attn_implementation = SEGMENTED


def _attend(
    layer: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None = None,
    segments: Segments | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' contract: [1, heads, P, head_dim] each -> [1, P, heads, head_dim].

    Without segments, as transformers' own forward pass calls it, all patches see one another.
    """
    segments = segments or Segments(1)
    query, key, value = (
        segments.spread(x[0].transpose(0, 1)).transpose(1, 2) for x in (query, key, value)
    )
    attended = scaled_dot_product_attention(query, key, value, attn_mask=segments.mask)
    return segments.gather(attended.transpose(1, 2)).unsqueeze(0), None


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


AttentionInterface.register(SEGMENTED, _attend)
