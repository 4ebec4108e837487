"""Frames that are given: the sampler leaves them, and a policy that has learnt to goes on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.vla.conftest import chunk_of, observe, start
from vla.flow import DATA, Given, per_frame
from vla.model import is_vl
from vla.policy import VLAPolicy
from vla.sequence import Batch
from vla.training.step import step_losses

HORIZON = 8


def prompts(policy: VLAPolicy, robots=("arm", "wall")) -> tuple[Batch, torch.Tensor]:
    """What robots see, and noise."""
    batch = policy.batch([policy.samples.to_act(observe(r), HORIZON) for r in robots])
    return batch, torch.randn(batch.actions.shape, generator=torch.Generator().manual_seed(0))


def given_to(batch: Batch, counts: list[int]) -> Given:
    return Given(torch.full_like(batch.actions, 0.7), torch.tensor(counts))


def test_the_field_is_told_that_given_frames_are_data_and_does_not_move_them():
    times = []

    def one(actions, time):
        times.append(time)
        return torch.ones_like(actions)

    given = Given(torch.full((2, 4, 3), 5.0), torch.tensor([0, 2]))
    noise = torch.zeros(2, 4, 3)
    started = given.start(noise)
    assert started[:, :, 0].tolist() == [[0, 0, 0, 0], [5, 5, 0, 0]]
    for time in (torch.full((2,), 0.3), torch.full((2, 4), 0.3)):
        moved = given(one)(started, time)
        assert moved[:, :, 0].tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
        torch.testing.assert_close(times[-1][0], torch.full((4,), 0.3))
        torch.testing.assert_close(times[-1][1], torch.tensor([DATA, DATA, 0.3, 0.3]))


def test_given_frames_stay_and_the_others_know_them(policy):
    batch, noise = prompts(policy)
    given = given_to(batch, [3, 0])
    free = policy.model.sample_actions(batch, noise, 4)
    told = policy.model.sample_actions(batch, noise, 4, given=given)
    plain = policy.model.sample_actions(batch, noise, 4, cached=False, given=given)
    torch.testing.assert_close(told, plain, atol=1e-5, rtol=1e-5)
    real = batch.action_mask[0, :3]
    assert (told[0, :3][real] == given.actions[0, :3][real]).all()
    assert (told[0, 3:] - free[0, 3:]).abs().max() > 1e-2
    torch.testing.assert_close(told[1], free[1])
    assert (told[~batch.action_mask] == 0).all() and not told.requires_grad


def test_what_is_behind_the_given_frames_is_not_looked_at(policy):
    batch, noise = prompts(policy)
    given = given_to(batch, [3, 1])
    expected = policy.model.sample_actions(batch, noise, 2, given=given)
    given.actions[0, 3:], given.actions[1, 1:] = torch.nan, torch.nan
    assert torch.equal(policy.model.sample_actions(batch, noise, 2, given=given), expected)


@pytest.mark.parametrize(("way", "atol"), [("given", 1e-4), ("guided", 1e-2)])
def test_a_policy_acts_from_frames_that_lie_where_no_first_frame_did(policy, way, atol):
    """The chunk before has set off; kept inside the range of first frames this one would jump.

    A guided sampler ends a thousandth of its noise short of what it is guided to.
    """
    now, known = observe("arm"), policy.tokenizer.embodiments["arm"]
    batch = policy.batch([policy.samples.to_act(now, HORIZON)])
    x = torch.full_like(batch.actions, 0.9)
    assert not known.start.first.contains(known.actions.denormalize(x[0, 0, :4])).all()
    ways = {
        "given": {"given": Given(x, torch.tensor([2]))},
        "guided": {"guide": lambda _: lambda actions, time: (x - actions) / (1 - per_frame(time))},
    }
    moved = policy.act([now], HORIZON, 2, torch.Generator().manual_seed(0), **ways[way])[0]
    back = policy.samples.in_flow_space(now, moved).x[0]
    np.testing.assert_allclose(back[:2, :4], x[0, :2, :4], atol=atol)


def test_a_little_training_teaches_to_go_on(tokenizer):
    """One moment, two ways to act: the first frames say which."""
    policy = start(tokenizer, 1, False, committed_frames=4, action_hidden=64)
    model, now = policy.model, observe("arm")
    batch = policy.batch([policy.samples.to_learn(now, chunk_of("arm").actions[0, :HORIZON])] * 2)
    rise = torch.linspace(0.3, 1.0, HORIZON)[:, None] * batch.action_mask[0]
    batch = replace(batch, actions=torch.stack([rise, -rise]))
    learning = [p for name, p in model.named_parameters() if not is_vl(name)]
    optimizer = torch.optim.AdamW(learning, lr=3e-3)
    for step in range(120):
        optimizer.zero_grad()
        step_losses(model, batch, [(0, step, 0), (0, step, 1)], 8).flow.mean().backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
    seen, noise = prompts(policy, ("arm",) * 4)
    ways, counts = batch.actions.repeat(2, 1, 1), [1, 1, 4, 4]
    moved = model.sample_actions(seen, noise, given=Given(ways, torch.tensor(counts)))
    for row, count in enumerate(counts):
        off = [(moved[row] - way)[count:, :4].abs().mean() for way in (ways[row], -ways[row])]
        assert off[0] < 0.5 * off[1]
