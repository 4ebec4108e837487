"""Attention over keys and values that stay where they are while queries come and go."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from vla.experts import KeyValue
from vla.rotary import Rotary


class Turn(NamedTuple):
    """Rotary angles, the sign of the half that is turned away folded into the sine.

    Attributes:
        cos: [B, N, 1, head_dim].
        sin: The same, negative in the first half.
    """

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, rotary: Rotary) -> Turn:
        cos, sin = (part.transpose(1, 2) for part in rotary)
        first, second = sin.chunk(2, dim=-1)
        return cls(cos.contiguous(), torch.cat([-first, second], dim=-1))

    def __call__(self, heads: Tensor) -> Tensor:
        """Rotate [B, N, heads, head_dim]."""
        first, second = heads.chunk(2, dim=-1)
        return torch.addcmul(heads * self.cos, torch.cat([second, first], dim=-1), self.sin)


def attend_grouped(query: Tensor, seen: KeyValue, mask: Tensor | None) -> Tensor:
    """Every group of query heads beside the one pair of keys and values that it looks at.

    Args:
        query: [B, N, heads, head_dim].
        seen: [B, key-value heads, M, head_dim]; nothing is repeated.
        mask: [B, 1, N · group, M] as `grouped_mask` makes it; None = everything is visible.

    Returns:
        [B, N, heads · head_dim].
    """
    count = query.shape[1]
    grouped = query.unflatten(2, (seen.key.shape[1], -1)).transpose(1, 2).flatten(2, 3)
    attended = scaled_dot_product_attention(grouped, *seen, attn_mask=mask)
    return attended.unflatten(2, (count, -1)).transpose(1, 2).flatten(2)


def grouped_mask(visible: Tensor, group: int, dtype: torch.dtype) -> Tensor:
    """What to add to the scores of bool [B, N, M], for groups of so many query heads."""
    scores = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    scores = scores.masked_fill(~visible, float("-inf"))
    return scores.repeat_interleave(group, dim=1).unsqueeze(1)


def attend_causally(query: Tensor, seen: KeyValue) -> Tensor:
    """Of tokens among themselves: queries [B, heads, N, head_dim] -> [B, N, heads · head_dim]."""
    group = query.shape[1] // seen.key.shape[1]
    key, value = (x.repeat_interleave(group, dim=1) for x in seen)
    attended = scaled_dot_product_attention(query, key, value, is_causal=True)
    return attended.transpose(1, 2).flatten(2)
