"""The layers of the two experts, and what both do before and after the joint attention.

The VL Expert's layers are transformers' own. The Action Expert's have the same parts under the same
names, so that `project` and `finish` read either; only the width of the heads, which meet in one
attention, must agree.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from vla.rotary import Rotary

INITIAL_SPREAD = 0.02


class KeyValue(NamedTuple):
    """Keys and values [B, key-value heads, N, head_dim] that queries may look at."""

    key: Tensor
    value: Tensor

    def then(self, later: KeyValue) -> KeyValue:
        """These, and later ones behind them."""
        pairs = zip(self, later, strict=True)
        return KeyValue(*(torch.cat(pair, dim=2) for pair in pairs))

    def detach(self) -> KeyValue:
        """The same for queries whose gradient is not to pass."""
        return KeyValue(self.key.detach(), self.value.detach())


class RMSNorm(nn.Module):
    """Root mean square normalisation in float32, with a learned scale."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(x.dtype)


class GatedMLP(nn.Module):
    """down(silu(gate x) * up x)."""

    def __init__(self, width: int, intermediate: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, intermediate, bias=False)
        self.up_proj = nn.Linear(width, intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))


class Projections(nn.Module):
    """Into the joint attention's heads and back."""

    def __init__(self, width: int, query_width: int, key_width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, query_width)
        self.k_proj = nn.Linear(width, key_width)
        self.v_proj = nn.Linear(width, key_width)
        self.o_proj = nn.Linear(query_width, width, bias=False)


class ActionLayer(nn.Module):
    """One layer of the Action Expert: norms, projections and MLP of its own.

    Args:
        width: Of the Action Expert.
        intermediate: Width of its MLP.
        query_width: Query heads times head_dim, of the backbone.
        key_width: Key-value heads times head_dim, of the backbone.
        eps: Of the norms.
    """

    def __init__(
        self, width: int, intermediate: int, query_width: int, key_width: int, eps: float
    ) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(width, eps)
        self.self_attn = Projections(width, query_width, key_width)
        self.post_attention_layernorm = RMSNorm(width, eps)
        self.mlp = GatedMLP(width, intermediate)
        self.apply(initialize)


def initialize(module: nn.Module) -> None:
    """Start a linear map of the Action Expert as transformers starts its own."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=INITIAL_SPREAD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def project(layer: Any, x: Tensor, rotary: Rotary, head_dim: int) -> tuple[Tensor, KeyValue]:
    """An expert's way into the joint attention.

    Args:
        layer: Of either expert.
        x: [B, N, width] of that expert.
        rotary: Of its positions.
        head_dim: Channels of a head.

    Returns:
        Queries [B, heads, N, head_dim] and what others may see.
    """
    normed, maps = layer.input_layernorm(x), layer.self_attn
    query, key, value = (
        linear(normed).unflatten(-1, (-1, head_dim)).transpose(1, 2)
        for linear in (maps.q_proj, maps.k_proj, maps.v_proj)
    )
    return rotary.turn(query), KeyValue(rotary.turn(key), value)


def finish(layer: Any, x: Tensor, attended: Tensor) -> Tensor:
    """An expert's way out of it: [B, N, width] and [B, N, heads · head_dim] -> [B, N, width]."""
    x = x + layer.self_attn.o_proj(attended)
    return x + layer.mlp(layer.post_attention_layernorm(x))
