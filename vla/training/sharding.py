"""A policy spread over processes by FSDP2, layer by layer."""

from __future__ import annotations

from dataclasses import replace

import torch

from vla.model import VLAModel
from vla.sequence import Batch

METHODS = ("sample_actions", "read", "velocity")
"""What is called beside `forward`, and needs the weights as well."""


def shard(model: VLAModel, device_type: str, low_precision: bool) -> None:
    """Let every process keep a part of the weights, gradients and moments.

    A layer of both experts is one unit, as is a block of the vision tower; tables, action head and
    the rest are gathered once per step and stay float32.

    Args:
        model: Changed in place.
        device_type: Of the processes' devices, such as `cuda`.
        low_precision: Gather the layers' weights in bfloat16; sums of gradients stay float32.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        MixedPrecisionPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    mesh = init_device_mesh(device_type, (torch.distributed.get_world_size(),))
    exact = MixedPrecisionPolicy(cast_forward_inputs=False)
    rough = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for unit in (*model.mot.layers, *model.vl_expert.model.visual.blocks):
        fully_shard(unit, mesh=mesh, mp_policy=rough if low_precision else exact)
    fully_shard(model, mesh=mesh, mp_policy=exact)
    for method in METHODS:
        register_fsdp_forward_method(model, method)


def complete(batch: Batch, patch: int, merge: int) -> Batch:
    """A micro-batch in which every part of the network takes part, though it may teach it nothing.

    Processes add up gradients part by part, and would wait for one that has none. A micro-batch of
    conversations gets a frame that is no flow slot, one without pictures a blank picture that no
    token stands for.

    Args:
        batch: Any.
        patch: Numbers of a patch.
        merge: Patches per side that one image token stands for.
    """
    if not batch.horizon:
        shape = len(batch), 1, batch.proprio.shape[1]
        batch = replace(
            batch,
            actions=batch.actions.new_zeros(shape),
            action_mask=batch.action_mask.new_zeros(shape),
            slot_positions=batch.slot_positions.new_zeros(3, len(batch), 1),
        )
    if batch.pixels is None:
        grid = torch.tensor([[1, merge, merge]])
        blank = torch.zeros(merge**2, patch, device=batch.ids.device)
        batch = replace(batch, pixels=blank, grids=grid)
    return batch
