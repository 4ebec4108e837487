"""Plan: everything for one shape of batch, laid out once; a batch goes in, its chunk comes out.

batch, noise, given ─copy─► static inputs ── prompt ── keys, values ─┬─ step ─ step ─ ... ──► chunk
                            └───────────────── one replay ───────────┘
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from vla.flow import Given
from vla.inference.attention import Turn, grouped_mask
from vla.inference.expert import FusedExpert
from vla.inference.prompt import read_prompt, room_for
from vla.inference.replay import Replay, make_replay
from vla.masks import flow_mask
from vla.model import VLAModel
from vla.sequence import Batch
from vla.vision import Grid, PicturePlan

BUCKET = 32
"""Where something is recorded or compiled, prompts are padded so that prompt and slots together are
a multiple of this: few recordings, and masks as a GPU's attention kernels take them."""


class Shape(NamedTuple):
    """What a plan is for.

    Attributes:
        batch: B.
        length: L, tokens of the prompt, the bucket's padding included.
        horizon: T.
        width: D.
        grids: Of all pictures.
        steps: Of Euler's method.
        masked: Whether anything is invisible: padding, or frames that are none.
    """

    batch: int
    length: int
    horizon: int
    width: int
    grids: tuple[Grid, ...]
    steps: int
    masked: bool

    @classmethod
    def of(cls, batch: Batch, steps: int, in_buckets: bool = False) -> Shape:
        """The shape of a batch.

        Args:
            batch: Any.
            steps: Of the sampler.
            in_buckets: Whether prompts are padded to one of a few lengths, and always masked.
        """
        length, horizon, masked = batch.ids.shape[1], batch.horizon, True
        if in_buckets:
            length = -(-(length + horizon) // BUCKET) * BUCKET - horizon
        else:
            masked = not bool(flow_mask(batch.types, batch.slots).all())
        grids: list[Any] = [] if batch.grids is None else batch.grids.tolist()
        sizes = len(batch), length, horizon, batch.actions.shape[2]
        return cls(*sizes, tuple((t, h, w) for t, h, w in grids), steps, masked)


@dataclass(frozen=True)
class Plan:
    """Attributes:
    inputs: The batch that is acted on; its tensors stay where they are.
    noise: float32 [B, T, D].
    given: First frames that are there already; of no sample but where so told.
    replay: Acts on all of them.
    """

    inputs: Batch
    noise: Tensor
    given: Given
    replay: Replay

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        model: VLAModel,
        expert: FusedExpert,
        shape: Shape,
        batch: Batch,
        compiled: bool = False,
    ) -> Plan:
        """Lay out what a shape needs, and record it.

        Args:
            model: Whose prompt.
            expert: Its Action Expert, for the shape's steps.
            shape: Of the batch.
            batch: One of them.
            compiled: Whether torch.compile fuses the kernels of a step.
        """
        inputs = _widened(batch, shape.length)
        own: dict[str, Any] = {name: t.clone() for name, t in _tensors(inputs).items()}
        inputs = replace(inputs, **own)
        noise = torch.zeros_like(inputs.actions)
        nothing = torch.zeros(len(batch), dtype=torch.int64, device=noise.device)
        given = Given(torch.zeros_like(noise), nothing)
        velocity: Callable[..., Tensor] = expert.velocity
        if compiled:
            velocity = torch.compile(velocity, dynamic=False)
        run = _acting(model, expert, velocity, shape, inputs, noise, given)
        return cls(inputs, noise, given, make_replay(run, model.device))

    @torch.no_grad()
    def act(self, batch: Batch, noise: Tensor, given: Given | None = None) -> Tensor:
        """float32 [B, T, D] in model space, masked entries 0; a tensor of its own."""
        seen = _tensors(_widened(batch, self.inputs.ids.shape[1]))
        for name, place in _tensors(self.inputs).items():
            place.copy_(seen[name])
        self.noise.copy_(noise)
        if given is None:
            self.given.frames.zero_()
        else:
            self.given.actions.copy_(given.actions)
            self.given.frames.copy_(given.frames)
        return self.replay().clone()


def _acting(
    model: VLAModel,
    expert: FusedExpert,
    velocity: Callable[..., Tensor],
    shape: Shape,
    inputs: Batch,
    noise: Tensor,
    given: Given,
) -> Callable[[], Tensor]:
    """From static inputs to a chunk; nothing in it waits for the device."""
    room = room_for(model, inputs)
    visual = model.vl_expert.model.visual
    plan = PicturePlan.of(visual, shape.grids, model.device) if shape.grids else None
    group = model.vl_expert.config.text_config.num_attention_heads // room[0].key.shape[1]

    @torch.no_grad()
    def run() -> Tensor:
        read_prompt(model, inputs, plan, room)
        mask = None
        if shape.masked:
            visible = flow_mask(inputs.types, inputs.slots)
            mask = grouped_mask(visible, group, model.dtype)
        turn = Turn.of(model.rotary.at(inputs.slot_positions, model.dtype))
        stays = given.mask
        constant = expert.entrance.constant(inputs.action_mask, stays)
        free = (~stays).to(noise.dtype)
        actions = given.start(noise).masked_fill(~inputs.action_mask, 0.0)
        share = inputs.action_mask * free
        for clock in expert.entrance.clock:
            moved = velocity(actions, torch.addcmul(constant, free, clock), turn, room, mask)
            actions = torch.addcmul(actions, moved, share, value=expert.step)
        return actions

    return run


def _tensors(batch: Batch) -> dict[str, Tensor]:
    """What acting looks at, by name."""
    unread = ("labels", "actions", "grids")
    found = {entry.name: getattr(batch, entry.name) for entry in fields(batch)}
    return {n: t for n, t in found.items() if isinstance(t, Tensor) and n not in unread}


def _widened(batch: Batch, length: int) -> Batch:
    """The same prompts with padding behind them."""
    more = length - batch.ids.shape[1]
    if not more:
        return batch
    names = ("ids", "types", "positions")
    wider: dict[str, Any] = {name: pad(getattr(batch, name), (0, more)) for name in names}
    return replace(batch, **wider)
