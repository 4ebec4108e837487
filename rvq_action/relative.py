"""Absolute actions <-> actions relative to the proprio anchor, by each channel's delta rule.

| rule       | relative                | absolute              |
|------------|-------------------------|-----------------------|
| `subtract` | x - a                   | x + a                 |
| `so3`      | R_a^T R                 | R_a R                 |
| `se3`      | R_a^T (p - p_a)         | R_a p + p_a           |
| `raw`      | x                       | x                     |

A rotation is orthonormalised on the way, so the two functions are exact inverses on valid
rotations.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rvq_action.branching import may_look
from rvq_action.layout import ActionLayout, DeltaRule
from rvq_action.rotation import matrix_to_rot6d, rot6d_to_matrix


def to_relative(
    actions: Tensor, anchor: Tensor | None, layout: ActionLayout, mask: Tensor | None = None
) -> Tensor:
    """Express actions relative to the anchor.

    Args:
        actions: [..., T, D] absolute, physical units.
        anchor: [D] or [..., D], proprio just before the chunk; an all-zero rotation counts as the
            identity. None only where no channel of the layout has an origin.
        layout: Says the rule of every channel.
        mask: [..., T, D] bool or broadcastable, True = real.

    Returns:
        [..., T, D]; masked entries are exactly 0.

    Raises:
        ValueError: The layout needs an anchor and has none, or a width differs from the layout's.
    """
    return _apply(actions, anchor, layout, mask, inverse=False)


def to_absolute(
    actions: Tensor, anchor: Tensor | None, layout: ActionLayout, mask: Tensor | None = None
) -> Tensor:
    """Inverse of `to_relative`, with the same arguments; masked entries are exactly 0."""
    return _apply(actions, anchor, layout, mask, inverse=True)


class _Plan(NamedTuple):
    """Channels by rule; a position is paired with the rotation of its part.

    Attributes:
        subtract: bool [D].
        rotations: The six channels of every rotation.
        positions: The channels of every position, and of its part's rotation.
    """

    subtract: Tensor
    rotations: list[slice]
    positions: list[tuple[list[int], slice]]


def _plan(layout: ActionLayout) -> _Plan:
    """Kept on the layout, as its cached properties are: to look it up by the channels takes longer
    than to move a chunk, and compiled graphs know no caches."""
    plan = getattr(layout, "_plan", None)
    if plan is None:
        plan = _make_plan(layout)
        object.__setattr__(layout, "_plan", plan)
    return plan


@torch.inference_mode(False)
def _make_plan(layout: ActionLayout) -> _Plan:
    by_rule: dict[DeltaRule, list[int]] = {rule: [] for rule in DeltaRule}
    for index, channel in enumerate(layout.channels):
        by_rule[channel.delta].append(index)
    rotations = [b for b in layout.rotation_blocks if set(b) <= set(by_rule[DeltaRule.SO3])]
    positions: dict[str, list[int]] = {}
    for index in by_rule[DeltaRule.SE3]:
        positions.setdefault(layout.channels[index].part, []).append(index)
    if sum(map(len, rotations)) != len(by_rule[DeltaRule.SO3]):
        raise ValueError(f"Layout {layout.name!r} uses so3 outside a 6-D rotation; use subtract.")
    if any(len(indices) != 3 for indices in positions.values()):
        raise ValueError(
            f"Layout {layout.name!r} uses se3 on {positions}, but a part's position has exactly "
            "three channels. Use subtract for the others."
        )
    paired = [(ix, _run(layout.rotation_of(part) or [])) for part, ix in positions.items()]
    subtract = torch.zeros(layout.width, dtype=torch.bool)
    subtract[by_rule[DeltaRule.SUBTRACT]] = True
    return _Plan(subtract, [_run(block) for block in rotations], paired)


def _run(block: list[int]) -> slice:
    """The consecutive channels of a rotation; a slice is read without being copied."""
    return slice(block[0], block[-1] + 1)


def _apply(
    actions: Tensor, anchor: Tensor | None, layout: ActionLayout, mask: Tensor | None, inverse: bool
) -> Tensor:
    _check_width(actions, layout, "actions")
    if layout.needs_anchor:
        anchor = _check_anchor(anchor, layout).to(actions).unsqueeze(-2)
        actions = _move(actions, anchor, _plan(layout), mask, inverse)
    return actions if mask is None else torch.where(mask, actions, 0.0)


def _is_absent(mask: Tensor | None, block: slice) -> bool:
    """Whether a rotation is masked throughout: an arm that is not there need not be turned."""
    return mask is not None and may_look(mask) and not mask[..., block].any()


def _move(
    actions: Tensor, anchor: Tensor, plan: _Plan, mask: Tensor | None, inverse: bool
) -> Tensor:
    def turn(block: slice) -> Tensor:
        rotation = rot6d_to_matrix(anchor[..., block])
        return rotation if inverse else rotation.transpose(-1, -2)

    shift = torch.where(plan.subtract.to(anchor.device), anchor, 0.0)
    moved = actions + shift if inverse else actions - shift
    for block in plan.rotations:
        if _is_absent(mask, block):
            continue
        moved[..., block] = matrix_to_rot6d(turn(block) @ rot6d_to_matrix(actions[..., block]))
    for indices, block in plan.positions:
        position, origin = actions[..., indices], anchor[..., indices]
        vector = position if inverse else position - origin
        turned = (turn(block) @ vector.unsqueeze(-1)).squeeze(-1)
        moved[..., indices] = turned + origin if inverse else turned
    return moved


def _check_width(tensor: Tensor, layout: ActionLayout, what: str) -> None:
    if tensor.shape[-1] != layout.width:
        raise ValueError(
            f"Layout {layout.name!r} has {layout.width} channels, but the {what} have "
            f"{tensor.shape[-1]} (shape {tuple(tensor.shape)})."
        )


def _check_anchor(anchor: Tensor | None, layout: ActionLayout) -> Tensor:
    if anchor is None:
        raise ValueError(
            f"Layout {layout.name!r} has channels relative to the proprio anchor. Pass proprio "
            "[..., D], the robot's state just before the chunk, in the layout's channels."
        )
    _check_width(anchor, layout, "anchor's channels")
    return anchor
