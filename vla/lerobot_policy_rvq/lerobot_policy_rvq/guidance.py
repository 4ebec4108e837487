"""Real-time chunking where LeRobot asks for it: the library's guidance, from LeRobot's words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from vla.policy import VLAPolicy
from vla.real_time_chunking import MAX_GUIDANCE, RealTimeGuidance, soft_mask
from vla.samples import Observation


def guide_towards(
    policy: VLAPolicy,
    seen: Sequence[Observation],
    left: Tensor,
    horizon: int,
    delay: int,
    most: float | None = None,
) -> RealTimeGuidance:
    """Towards frames that the robot will execute meanwhile.

    Args:
        policy: The policy.
        seen: B observations.
        left: float32 [n, D] or [B, n, D], physical, absolute: the frames from now on.
        horizon: T, of the new chunk.
        delay: Frames of `left` that will have been executed when it arrives.
        most: β of the guidance; the library's where None.

    Raises:
        ValueError: Frames of another number of channels, or fewer than the delay.
    """
    frames = left.expand(len(seen), *left.shape[-2:])[:, :horizon]
    width = policy.tokenizer.layout(seen[0].embodiment).width
    count = frames.shape[1]
    if frames.shape[-1] != width or not 0 <= delay <= count:
        raise ValueError(
            f"prev_chunk_left_over must be at least inference_delay={delay} frames of {width} "
            f"channels, as predict_action_chunk returned them, got {list(left.shape)}."
        )
    filled = pad(frames.transpose(1, 2), (0, horizon - count), mode="replicate").transpose(1, 2)
    given = [policy.samples.in_flow_space(o, f) for o, f in zip(seen, filled, strict=True)]
    weights = soft_mask(horizon, delay, count)[:, None]
    target = torch.cat([g.x for g in given]).to(policy.model.device)
    mask = torch.cat([weights * g.mask for g in given]).to(policy.model.device)
    return RealTimeGuidance(target, mask, MAX_GUIDANCE if most is None else most)
