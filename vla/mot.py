"""The Mixture-of-Transformers: two experts with weights of their own, one attention in every layer.

                 VL Expert                     Action Expert
        tokens ── norm, q k v ──┐          ┌── norm, q k v ── flow slots
                                one attention
               ┌── o, norm, MLP ┘          └ o, norm, MLP ──┐
             tokens                                      flow slots

Tokens never see the flow (masks.py), so its keys need not be shown to their queries: the softmax of
every query runs over all it may see, and what the tokens left behind can be kept (`cache`) while
the flow slots come back with every denoising step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from vla.experts import ActionLayer, KeyValue, finish, project
from vla.rotary import Rotary

Cache = tuple[KeyValue, ...]
"""What the VL Expert's tokens left behind, layer by layer."""


class Entrance(NamedTuple):
    """An expert's input to the layers.

    Attributes:
        x: [B, N, width].
        rotary: Of its positions.
        mask: bool [B, N, all that the expert may see], True = visible; None = everything.
    """

    x: Tensor
    rotary: Rotary
    mask: Tensor | None


@dataclass(frozen=True)
class Streams:
    """What leaves the layers, before the final norms.

    Attributes:
        tokens: [B, L, width of the VL Expert], or None where none went in.
        flow: [B, T, width of the Action Expert], or None where none went in.
        cache: The tokens that went in, and those before them.
    """

    tokens: Tensor | None
    flow: Tensor | None
    cache: Cache


class LayerOutput(NamedTuple):
    """Both streams behind a layer, and the keys and values of all tokens so far."""

    tokens: Tensor | None
    flow: Tensor | None
    seen: KeyValue | None


class JointLayer(nn.Module):
    """One layer of both experts.

    Args:
        vl: A layer of transformers' Qwen2.5-VL.
        action: Its counterpart.
        head_dim: Channels of a head.
        stop_gradient: Whether flow slots see the tokens' keys and values as constants.
    """

    def __init__(self, vl: nn.Module, action: ActionLayer, head_dim: int, stop_gradient: bool):
        super().__init__()
        self.vl, self.action = vl, action
        self.head_dim, self.stop_gradient = head_dim, stop_gradient

    def forward(
        self, tokens: Entrance | None, flow: Entrance | None, past: KeyValue | None
    ) -> LayerOutput:
        """Run the experts that have an input; `past` are the tokens before it."""
        told = shown = None
        if tokens is not None:
            query, own = project(self.vl, tokens.x, tokens.rotary, self.head_dim)
            past = own if past is None else past.then(own)
            told = finish(self.vl, tokens.x, attend(query, past, tokens.mask))
        if flow is not None:
            query, own = project(self.action, flow.x, flow.rotary, self.head_dim)
            if past is not None:
                own = (past.detach() if self.stop_gradient else past).then(own)
            shown = finish(self.action, flow.x, attend(query, own, flow.mask))
        return LayerOutput(told, shown, past)


class MixtureOfTransformers(nn.Module):
    """All layers of both experts.

    Args:
        vl_layers: Of the VL Expert, first to last.
        action_layers: As many of the Action Expert.
        head_dim: Channels of a head.
        stop_gradient: Whether the flow's gradient ends at the tokens.
    """

    def __init__(
        self,
        vl_layers: list[nn.Module],
        action_layers: list[ActionLayer],
        head_dim: int,
        stop_gradient: bool,
    ) -> None:
        super().__init__()
        pairs = zip(vl_layers, action_layers, strict=True)
        self.layers = nn.ModuleList(JointLayer(*p, head_dim, stop_gradient) for p in pairs)
        self.gradient_checkpointing = False

    def forward(
        self, tokens: Entrance | None, flow: Entrance | None, past: Cache | None = None
    ) -> Streams:
        """Run the experts that have an input.

        Args:
            tokens: Of the VL Expert; seen by tokens and flow slots.
            flow: Of the Action Expert; seen by flow slots.
            past: Tokens that came before.
        """
        cache: list[KeyValue] = []
        for number, layer in enumerate(self.layers):
            before = None if past is None else past[number]
            after = self._run(layer, tokens, flow, before)
            if tokens is not None and after.tokens is not None:
                tokens = tokens._replace(x=after.tokens)
            if flow is not None and after.flow is not None:
                flow = flow._replace(x=after.flow)
            cache += [] if after.seen is None else [after.seen]
        return Streams(tokens and tokens.x, flow and flow.x, tuple(cache))

    def set_stop_gradient(self, enabled: bool) -> None:
        """Whether the flow's gradient ends at the tokens."""
        for layer in self.layers:
            cast(JointLayer, layer).stop_gradient = enabled

    def _run(self, layer: nn.Module, *inputs: Any) -> LayerOutput:
        if self.gradient_checkpointing and self.training:
            return checkpoint(layer, *inputs, use_reentrant=False)
        return layer(*inputs)


def attend(query: Tensor, seen: KeyValue, mask: Tensor | None) -> Tensor:
    """Grouped-query attention.

    Args:
        query: [B, heads, N, head_dim].
        seen: M keys and values of fewer heads.
        mask: bool [B, N, M], True = visible; None = everything.

    Returns:
        [B, N, heads · head_dim].
    """
    group = query.shape[1] // seen.key.shape[1]
    key, value = (x.repeat_interleave(group, dim=1) for x in seen)
    mask = None if mask is None else mask.unsqueeze(1)
    attended = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return attended.transpose(1, 2).flatten(2)
