"""The prompt: read once, its keys and values laid down where every denoising step looks."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from vla.experts import KeyValue, finish, project
from vla.inference.attention import attend_causally
from vla.model import VLAModel
from vla.mot import Cache, JointLayer
from vla.sequence import Batch
from vla.vision import PicturePlan, see


def room_for(model: VLAModel, batch: Batch) -> Cache:
    """Keys and values of all layers, [B, key-value heads, L + T, head_dim], nothing in them."""
    text = model.vl_expert.config.text_config
    shape = len(batch), text.num_key_value_heads, batch.ids.shape[1] + batch.horizon
    blank = torch.zeros(*shape, model.rotary.head_dim, dtype=model.dtype, device=model.device)
    return tuple(KeyValue(blank.clone(), blank.clone()) for _ in model.mot.layers)


def read_prompt(model: VLAModel, batch: Batch, plan: PicturePlan | None, room: Cache) -> None:
    """Run the VL Expert, as `VLAModel.read` does, and write what flow slots may look at.

    Padding stands behind the prompts, where a causal attention does not look; what it leaves in
    the room is for the flow's mask to hide. Nothing looks at the last layer but the flow: its
    attention and MLP are left out.

    Args:
        model: Whose VL Expert.
        batch: Padded on the right.
        plan: Of its pictures, where there are any.
        room: Of `room_for`; the flow slots' places are left alone.
    """
    seen: Tensor | None = None
    if plan is not None and batch.pixels is not None:
        seen = see(model.vl_expert.model.visual, batch.pixels, plan)
    x = model.embed(batch, seen)
    rotary = model.rotary.at(batch.positions, x.dtype)
    layers: list[Any] = [cast(JointLayer, layer).vl for layer in model.mot.layers]
    for layer, kept in zip(layers, room, strict=True):
        query, own = project(layer, x, rotary, model.rotary.head_dim)
        for place, new in zip(kept, own, strict=True):
            place[:, :, : x.shape[1]].copy_(new)
        if layer is not layers[-1]:
            x = finish(layer, x, attend_causally(query, own))
