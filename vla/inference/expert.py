"""The Action Expert as the fast path runs it: matrices side by side, what repeats worked out once.

    query | key | value     one matrix
    gate | up               one matrix
    action, mask, clock     the map in front of the mixing layer is multiplied into it: actions keep
                            one matrix, the mask's share is the same in all steps, and the clock's
                            is a row per step

These are copies: of the weights as they were. `FastSampler` makes new ones when they change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm, silu

from vla.action_head import ActionHead, sinusoids
from vla.experts import ActionLayer, KeyValue, RMSNorm
from vla.flow import DATA
from vla.inference.attention import Turn, attend_grouped
from vla.model import VLAModel
from vla.mot import JointLayer


class Norm(NamedTuple):
    """Scale and epsilon of a root mean square norm."""

    weight: Tensor
    eps: float

    @classmethod
    def of(cls, norm: RMSNorm) -> Norm:
        return cls(norm.weight.detach(), norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight.shape, self.weight, self.eps)


class FusedLayer(NamedTuple):
    """One layer of the Action Expert.

    Attributes:
        norm: Before attention.
        into: [query + key + value widths, width], and its bias.
        bias: Of `into`.
        out: [width, query width].
        mlp_norm: Before the MLP.
        gate_up: [2 · intermediate, width].
        down: [width, intermediate].
    """

    norm: Norm
    into: Tensor
    bias: Tensor
    out: Tensor
    mlp_norm: Norm
    gate_up: Tensor
    down: Tensor

    @classmethod
    def of(cls, layer: ActionLayer) -> FusedLayer:
        maps, mlp = layer.self_attn, layer.mlp
        three = [_linear(m) for m in (maps.q_proj, maps.k_proj, maps.v_proj)]
        return cls(
            Norm.of(layer.input_layernorm),
            torch.cat([m.weight.detach() for m in three]),
            torch.cat([m.bias.detach() for m in three]),
            _linear(maps.o_proj).weight.detach(),
            Norm.of(layer.post_attention_layernorm),
            torch.cat([_linear(m).weight.detach() for m in (mlp.gate_proj, mlp.up_proj)]),
            _linear(mlp.down_proj).weight.detach(),
        )

    def __call__(self, x: Tensor, turn: Turn, seen: KeyValue, mask: Tensor | None) -> Tensor:
        """Flow slots [B, T, width] behind the layer; their keys go to the end of `seen`."""
        keys, head_dim = seen.key.shape[1], seen.key.shape[-1]
        heads = linear(self.norm(x), self.into, self.bias).unflatten(-1, (-1, head_dim))
        turning, value = heads.tensor_split((-keys,), dim=2)
        query, key = turn(turning).tensor_split((-keys,), dim=2)
        for kept, new in zip(seen, (key, value), strict=True):
            kept[:, :, -x.shape[1] :].copy_(new.transpose(1, 2))
        x = x + linear(attend_grouped(query, seen, mask), self.out)
        gate, up = linear(self.mlp_norm(x), self.gate_up).chunk(2, dim=-1)
        return x + linear(silu(gate) * up, self.down)


class FusedEntrance(NamedTuple):
    """Noisy actions into the Action Expert, float32.

    Attributes:
        enter: [width, D], of noisy actions.
        fixed: [width, D], of their mask.
        bias: [width], beside `fixed`.
        mix: [width, width].
        mix_bias: Of `mix`.
        clock: [steps, width], what each step's flow time adds.
        data_clock: [width], what that of given frames adds.
    """

    enter: Tensor
    fixed: Tensor
    bias: Tensor
    mix: Tensor
    mix_bias: Tensor
    clock: Tensor
    data_clock: Tensor

    @classmethod
    def of(cls, head: ActionHead, times: Tensor) -> FusedEntrance:
        """For the flow times [steps]; products are worked out in float64."""
        times = torch.cat([times, times.new_full((1,), DATA)])
        first, last = cast(nn.Linear, head.mix[0]), cast(nn.Linear, head.mix[2])
        of_action, of_clock = first.weight.double().chunk(2, dim=1)
        maps = of_action @ head.enter.weight.double()
        bias = of_action @ head.enter.bias.double() + first.bias.double()
        clock = sinusoids(times, of_clock.shape[1]).double() @ of_clock.T
        worked_out = (*maps.chunk(2, dim=1), bias, clock)
        enter, fixed, bias, clock = (x.to(first.weight.dtype).contiguous() for x in worked_out)
        mix = last.weight.detach(), last.bias.detach()
        return cls(enter, fixed, bias, *mix, clock[:-1], clock[-1])

    def constant(self, mask: Tensor, given: Tensor) -> Tensor:
        """What is the same in every step, [B, T, width].

        Args:
            mask: bool [B, T, D], True = real.
            given: bool [B, T, 1], True = given: the frames whose flow time stays the same.
        """
        return linear(mask.to(self.fixed), self.fixed, self.bias) + given * self.data_clock

    def __call__(self, actions: Tensor, constant: Tensor) -> Tensor:
        """float32 [B, T, D], 0 where masked; with the share of mask and clock."""
        return linear(silu(linear(actions, self.enter) + constant), self.mix, self.mix_bias)


@dataclass(frozen=True)
class FusedExpert:
    """All layers, and the maps around them, which keep float32.

    Attributes:
        entrance: Before the layers.
        layers: First to last.
        norm: Behind them.
        leave: [D, width].
        leave_bias: Of `leave`.
        step: Flow time from one step to the next.
    """

    entrance: FusedEntrance
    layers: tuple[FusedLayer, ...]
    norm: Norm
    leave: Tensor
    leave_bias: Tensor
    step: float

    @classmethod
    @torch.no_grad()
    def of(cls, model: VLAModel, steps: int) -> FusedExpert:
        """Of a model, for so many steps of Euler's method.

        Raises:
            ValueError: A map of the Action Expert is no plain one: it has an adapter.
        """
        head, step = model.action_head, model.config.time_scale / steps
        times = torch.arange(steps, device=model.device) * step
        layers = tuple(FusedLayer.of(cast(JointLayer, x).action) for x in model.mot.layers)
        norm, leave = Norm.of(head.norm), head.leave
        around = norm, leave.weight.detach(), leave.bias.detach(), step
        return cls(FusedEntrance.of(head, times), layers, *around)

    def velocity(
        self,
        actions: Tensor,
        constant: Tensor,
        turn: Turn,
        seen: tuple[KeyValue, ...],
        mask: Tensor | None,
    ) -> Tensor:
        """Velocities float32 [B, T, D].

        Args:
            actions: float32 [B, T, D], 0 where masked.
            constant: [B, T, width], the mask's share and the clock's.
            turn: Of the slots' positions.
            seen: The prompt's keys and values, layer by layer, with room for the slots behind.
            mask: See `attend_grouped`.
        """
        x = self.entrance(actions, constant).to(self.layers[0].into.dtype)
        for layer, kept in zip(self.layers, seen, strict=True):
            x = layer(x, turn, kept, mask)
        return linear(self.norm(x.to(self.leave.dtype)), self.leave, self.leave_bias)


def _linear(module: Any) -> nn.Linear:
    if type(module) is not nn.Linear:
        raise ValueError(
            f"The Action Expert has a {type(module).__name__} where a Linear was expected: the "
            "fast path needs adapters merged into the weights (as the policy's folder has them)."
        )
    return module
