"""Real-time chunking where LeRobot asks for it: the library's, from LeRobot's words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from vla.flow import Given
from vla.policy import VLAPolicy
from vla.real_time_chunking import MAX_GUIDANCE, RealTimeGuidance, soft_mask
from vla.samples import Observation


def without_padding(left: Tensor) -> Tensor:
    """Frames as LeRobot hands them over -> those that there are.

    `lerobot-rollout` fills a short rest of a chunk up with zeros, which are no places to go to.

    Args:
        left: [n, D] or [B, n, D].
    """
    there = left.ne(0).any(-1).nonzero()[:, -1]
    return left[..., : int(there.max()) + 1 if len(there) else 0, :]


def go_on_from(
    policy: VLAPolicy,
    seen: Sequence[Observation],
    left: Tensor,
    horizon: int,
    delay: int,
    most: float | None = None,
) -> dict[str, Any]:
    """What `VLAPolicy.act` is told of frames that the robot will execute meanwhile.

    They are `given` to a policy that was trained so, up to as many as it was trained for; any other
    takes a `guide` towards them.

    Args:
        policy: The policy.
        seen: B observations.
        left: float32 [n, D] or [B, n, D], physical, absolute: the frames from now on.
        horizon: T, of the new chunk.
        delay: Frames that last until it arrives, as LeRobot expects of the slowest so far; those of
            `left` among them will have been executed.
        most: β of the guidance; the library's where None.

    Returns:
        Nothing where nothing is left to go on from.

    Raises:
        ValueError: Frames of another number of channels, or a delay below 0.
    """
    frames = left.expand(len(seen), *left.shape[-2:])[:, :horizon]
    width = policy.tokenizer.layout(seen[0].embodiment).width
    if frames.shape[-1] != width:
        raise ValueError(
            f"prev_chunk_left_over must be frames of {width} channels, as predict_action_chunk "
            f"returned them, got {list(left.shape)}."
        )
    if delay < 0:
        raise ValueError(f"inference_delay={delay} must be 0 or more frames.")
    if delay >= horizon:
        warnings.warn(
            f"inference_delay={delay}, but a chunk has {horizon} frames: if it does arrive so "
            "late, nothing of it is left to execute. Lower --fps, or take a faster device.",
            stacklevel=2,
        )
    count = frames.shape[1]
    if not count:
        return {}
    filled = pad(frames.transpose(1, 2), (0, horizon - count), mode="replicate").transpose(1, 2)
    told = [policy.samples.in_flow_space(o, f) for o, f in zip(seen, filled, strict=True)]
    device = policy.model.device
    target = torch.cat([t.x for t in told]).to(device)
    if most_given := min(policy.config.committed_frames, horizon - 1):
        frames = torch.full((len(seen),), min(delay, count, most_given), device=device)
        return {"given": Given(target, frames)}
    weights = soft_mask(horizon, min(delay, count), count)[:, None]
    mask = torch.cat([weights * t.mask for t in told]).to(device)
    return {"guide": RealTimeGuidance(target, mask, MAX_GUIDANCE if most is None else most)}
