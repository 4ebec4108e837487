"""Multimodal rotary positions, as Qwen2.5-VL uses them (arXiv 2409.12191, section 2.1).

A position is a triple (temporal, height, width). The d/2 frequencies of a head are dealt out in
sections: the first turn with the temporal position, the next with the height, the last with the
width. Text and flow slots have three equal positions, for which this is plain rotary embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Rotary(NamedTuple):
    """cos and sin of every position's angles, [B, 1, N, head_dim] each."""

    cos: Tensor
    sin: Tensor

    def turn(self, heads: Tensor) -> Tensor:
        """Rotate queries or keys [B, heads, N, head_dim]."""
        first, second = heads.chunk(2, dim=-1)
        turned = heads * self.cos + torch.cat([-second, first], dim=-1) * self.sin
        return turned.to(heads.dtype)


@dataclass(frozen=True)
class RotarySettings:
    """Attributes:
    head_dim: Channels of a head.
    theta: Base of the frequencies.
    sections: Frequencies that turn with time, height and width; head_dim / 2 in all.
    """

    head_dim: int
    theta: float
    sections: tuple[int, int, int]

    @classmethod
    def of(cls, text_config: Any) -> RotarySettings:
        """What a Qwen2.5-VL's text configuration says.

        Raises:
            ValueError: It uses another rotary embedding, or sections that do not fill a head.
        """
        rope = getattr(text_config, "rope_parameters", None)
        rope = rope or {"rope_theta": text_config.rope_theta, **(text_config.rope_scaling or {})}
        head_dim = text_config.hidden_size // text_config.num_attention_heads
        sections = tuple(rope.get("mrope_section", ()))
        kind = rope.get("rope_type", "default")
        if kind not in ("default", "mrope") or len(sections) != 3 or 2 * sum(sections) != head_dim:
            raise ValueError(
                f"The backbone's rotary embedding is {dict(rope)} on heads of {head_dim} channels; "
                "expected Qwen2.5-VL's: type default, three sections that sum to half a head."
            )
        return cls(head_dim, float(rope["rope_theta"]), sections)

    def at(self, positions: Tensor, dtype: torch.dtype) -> Rotary:
        """Angles of positions int64 [3, B, N]."""
        device = positions.device
        exponent = torch.arange(0, self.head_dim, 2, device=device).float() / self.head_dim
        axis = torch.cat(
            [torch.full((n,), axis, device=device) for axis, n in enumerate(self.sections)]
        )
        angles = positions[axis].movedim(0, -1).float() * self.theta**-exponent
        angles = torch.cat([angles, angles], dim=-1).unsqueeze(1)
        return Rotary(angles.cos().to(dtype), angles.sin().to(dtype))
