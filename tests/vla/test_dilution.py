"""Robots of different size in one batch: each sample counts once, padding never."""

from __future__ import annotations

from dataclasses import replace

import torch

from tests.vla.conftest import answer, learn
from vla.flow import FlowDraw


def test_a_robot_with_fewer_frames_or_channels_does_not_dilute_the_loss(policy):
    short = torch.ones(20, 4, dtype=torch.bool)
    short[7:] = False
    samples = [learn(policy, "wall"), learn(policy, "arm"), learn(policy, "arm", 3, mask=short)]
    batch = policy.batch([*samples, answer(policy)])
    draw = FlowDraw.sample(batch.actions, 1.5, 0.999, torch.Generator().manual_seed(0))
    together = policy.model(batch, draw).losses
    losses, counts = [], []
    for row, sample in enumerate(samples):
        frames = len(sample.actions)
        own = FlowDraw(draw.noise[row : row + 1, :frames], draw.time[row : row + 1])
        losses.append(policy.model(policy.batch([sample]), own).losses.flow)
        counts.append(sample.action_mask.sum())
    assert counts[2] == 7 * 4 and len(set(map(int, counts))) == 3
    torch.testing.assert_close(together.flow, torch.stack(losses).mean())
    actions = torch.where(batch.action_mask, batch.actions, 9.0)
    changed = policy.model(replace(batch, actions=actions), draw).losses.flow
    torch.testing.assert_close(changed, together.flow)
