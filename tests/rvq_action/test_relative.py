"""Relative and absolute actions are inverse to one another, rule by rule."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from rvq_action import WALL_26, ActionLayout, DeltaRule, joint_space
from rvq_action.relative import to_absolute, to_relative
from rvq_action.rotation import matrix_to_rot6d, rot6d_to_matrix


def with_se3(layout: ActionLayout) -> ActionLayout:
    """The layout with every arm position expressed in the anchor's frame."""
    channels = tuple(
        dataclasses.replace(c, delta=DeltaRule.SE3) if c.group.endswith("arm/position") else c
        for c in layout.channels
    )
    return ActionLayout("wall_26_se3", channels)


def random_poses(layout: ActionLayout, *leading: int, seed: int = 0) -> torch.Tensor:
    """Random actions whose rotation blocks are valid rotations."""
    rng = np.random.default_rng(seed)
    poses = torch.from_numpy(rng.normal(size=(*leading, layout.width)))
    for block in layout.rotation_blocks:
        matrices = Rotation.random(int(np.prod(leading)), rng=rng).as_matrix()
        poses[..., block] = matrix_to_rot6d(torch.from_numpy(matrices)).reshape(*leading, 6)
    return poses


@pytest.mark.parametrize("layout", [WALL_26, with_se3(WALL_26), joint_space(7)])
@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_relative_and_absolute_are_inverse(layout, leading):
    actions, anchor = random_poses(layout, *leading, 5), random_poses(layout, *leading, seed=1)
    relative = to_relative(actions, anchor, layout)
    torch.testing.assert_close(to_absolute(relative, anchor, layout), actions)
    torch.testing.assert_close(to_relative(actions, anchor, layout), relative)


def test_each_rule_does_what_it_says():
    layout = with_se3(WALL_26)
    actions, anchor = random_poses(layout, 5), random_poses(layout, seed=1)
    relative = to_relative(actions, anchor, layout)
    position, block = layout.groups["left_arm/position"], layout.groups["left_arm/rotation"]
    turn = rot6d_to_matrix(anchor[block])
    expected = (actions[:, position] - anchor[position]) @ turn
    torch.testing.assert_close(relative[:, position], expected)
    expected = turn.T @ rot6d_to_matrix(actions[:, block])
    torch.testing.assert_close(rot6d_to_matrix(relative[:, block]), expected)
    for group in ("left_arm/gripper", "lift/height", "head/angle"):
        assert torch.equal(relative[:, layout.groups[group]], actions[:, layout.groups[group]])
    subtracted = to_relative(actions, anchor, WALL_26)[:, position]
    torch.testing.assert_close(subtracted, actions[:, position] - anchor[position])


def test_standing_still_is_zero_and_the_identity():
    anchor = random_poses(WALL_26)
    relative = to_relative(anchor.expand(3, -1), anchor, WALL_26)
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0]).double()
    torch.testing.assert_close(
        relative[:, WALL_26.groups["right_arm/rotation"]], identity.expand(3, 6)
    )
    assert relative[:, WALL_26.groups["right_arm/position"]].abs().max() == 0


def test_masked_entries_are_exactly_zero_both_ways_and_keep_gradients_finite():
    actions = random_poses(WALL_26, 2, 5).requires_grad_()
    mask = torch.zeros(2, 5, 26, dtype=torch.bool)
    mask[:, :3, 10:20] = True
    anchor = torch.zeros(2, 26).double()
    for function in (to_relative, to_absolute):
        result = function(actions, anchor, WALL_26, mask)
        assert (result[~mask] == 0).all() and (result[mask] != 0).any()
        (gradient,) = torch.autograd.grad(result.sum(), actions)
        assert gradient.isfinite().all()


def test_nan_in_masked_entries_does_not_leak():
    actions = torch.zeros(4, 6)
    actions[2:] = torch.nan
    mask = torch.tensor([True, True, False, False]).unsqueeze(-1)
    assert torch.equal(
        to_relative(actions, torch.zeros(6), joint_space(6), mask), torch.zeros(4, 6)
    )


def test_raw_layouts_need_no_anchor_and_others_say_so():
    actions = torch.ones(3, 2)
    assert torch.equal(to_relative(actions, None, joint_space(2, delta="raw")), actions)
    with pytest.raises(ValueError, match="Pass proprio"):
        to_relative(actions, None, joint_space(2))


def test_wrong_widths_are_named():
    with pytest.raises(ValueError, match="has 7 channels, but the actions have 6"):
        to_relative(torch.zeros(3, 6), torch.zeros(7), joint_space(7))
    with pytest.raises(ValueError, match="has 7 channels, but the anchor's channels have 6"):
        to_relative(torch.zeros(3, 7), torch.zeros(6), joint_space(7))


def test_rules_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="so3 outside a 6-D rotation"):
        to_relative(torch.zeros(3, 2), torch.zeros(2), joint_space(2, delta="so3"))
