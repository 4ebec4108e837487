"""A batch of LeRobot's -> a batch of ours; by the library's own way from there on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor

from rvq_action.chunk import ActionChunk
from vla.data.changes import Changes, Moment, known_proprio
from vla.images import Image, fit
from vla.policy import VLAPolicy
from vla.samples import Observation
from vla.sequence import Batch

PADDING = f"{ACTION}_is_pad"


def read_pictures(
    batch: Mapping[str, Any], cameras: Mapping[str, str], size: int
) -> list[dict[str, Image]]:
    """Camera -> uint8 [size, size, 3], for every row.

    Args:
        batch: Pictures are float [B, 3, H, W] in 0..1.
        cameras: The policy's name of a camera -> LeRobot's feature.
        size: Pixels per side.

    Raises:
        ValueError: A camera is missing, or is no such picture.
    """
    columns = {}
    for name, key in cameras.items():
        if key not in batch:
            found = sorted(k for k in batch if k.startswith("observation.image"))
            raise ValueError(f"The camera {name!r} ({key}) is missing from the batch: {found}.")
        given = batch[key]
        if given.ndim != 4 or given.shape[1] != 3 or not given.is_floating_point():
            raise ValueError(
                f"{key} must be float [B, 3, H, W] in 0..1, got {given.dtype} {list(given.shape)}."
            )
        pixels = (given.detach().to("cpu", torch.float32) * 255).round().clamp(0, 255).byte()
        columns[name] = [fit(image, size) for image in pixels.permute(0, 2, 3, 1).numpy()]
    count = len(batch[OBS_STATE]) if OBS_STATE in batch else len(next(iter(columns.values())))
    return [{name: column[row] for name, column in columns.items()} for row in range(count)]


def read_states(batch: Mapping[str, Any], count: int, width: int) -> Tensor:
    """float32 [B, D] in the layout's channels, NaN where unknown."""
    if OBS_STATE not in batch:
        return torch.full((count, width), torch.nan)
    return batch[OBS_STATE].detach().to("cpu", torch.float32).clone().reshape(count, width)


def read_tasks(batch: Mapping[str, Any], count: int) -> list[str]:
    """What each row is told.

    Raises:
        ValueError: Nothing is told.
    """
    told = batch.get("task")
    tasks = [told] * count if isinstance(told, str) else list(told or [])
    if len(tasks) != count or not all(isinstance(t, str) and t.strip() for t in tasks):
        raise ValueError(
            f"Every row needs an instruction under 'task', got {told!r}. Give "
            "--dataset.single_task, or an environment or dataset that says what is to be done."
        )
    return tasks


def read_chunk(batch: Mapping[str, Any], embodiment: str, fps: float, width: int) -> ActionChunk:
    """The demonstrated frames; those behind an episode's end and absent channels are masked.

    Raises:
        ValueError: Actions of another shape.
    """
    actions = batch[ACTION].detach().to("cpu", torch.float32)
    if actions.ndim != 3 or actions.shape[-1] != width:
        raise ValueError(f"{ACTION} must be [B, chunk_size, {width}], got {list(actions.shape)}.")
    real = ~actions.isnan()
    if PADDING in batch:
        real &= ~batch[PADDING].detach().cpu().bool()[..., None]
    state = read_states(batch, len(actions), width)
    known = ~state.isnan()
    anchor = torch.where(known, state, 0.0)
    return ActionChunk(torch.where(real, actions, 0.0), real, anchor, known, fps, embodiment)


def to_learn(
    policy: VLAPolicy,
    batch: Mapping[str, Any],
    cameras: Mapping[str, str],
    place: tuple[str, float],
    changes: Changes,
    keys: Sequence[tuple[int, ...]],
) -> Batch:
    """A batch to learn from.

    Args:
        policy: What learns.
        batch: LeRobot's, behind the preprocessor.
        cameras: The policy's name of a camera -> LeRobot's feature.
        place: Embodiment and frames per second.
        changes: What happens to the demonstrations.
        keys: What each row's chance depends on.
    """
    tokens = policy.tokenizer
    chunk = read_chunk(batch, *place, tokens.layout(place[0]).width)
    pictures = read_pictures(batch, cameras, policy.config.image_size)
    moments = map(Moment, read_tasks(batch, len(chunk.actions)), pictures)
    told = known_proprio(chunk), chunk.embodiment, chunk.fps
    codes = tokens.encode(chunk.actions, *told, mask=chunk.mask)
    chances = [np.random.default_rng(key) for key in keys]
    samples = changes.samples(policy.samples, chunk, codes, list(moments), chances)
    return policy.batch(samples)


def to_act(
    policy: VLAPolicy,
    batch: Mapping[str, Any],
    cameras: Mapping[str, str],
    place: tuple[str, float],
) -> list[Observation]:
    """What every row sees, knows of itself and is told; arguments as of `to_learn`."""
    pictures = read_pictures(batch, cameras, policy.config.image_size)
    count = len(pictures)
    states = read_states(batch, count, policy.tokenizer.layout(place[0]).width)
    rows = zip(pictures, states, read_tasks(batch, count), strict=True)
    return [Observation(*row, *place) for row in rows]
