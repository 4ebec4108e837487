"""The flow: where it starts, where it leads, what its loss is."""

import pytest
import torch

from vla.flow import DATA, FlowDraw, flow_loss, integrate

SHAPE = (2, 5, 3)


def some(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, FlowDraw]:
    generator = torch.Generator().manual_seed(seed)
    actions = torch.randn(SHAPE, generator=generator)
    mask = torch.rand(SHAPE, generator=generator) > 0.3
    draw = FlowDraw.sample(actions, 1.5, 0.999, generator)
    return torch.where(mask, actions, 0.0), mask, draw


def test_the_path_goes_from_noise_to_data():
    actions, _, draw = some()
    everything = torch.ones(SHAPE, dtype=torch.bool)
    for time, end in ((0.0, draw.noise), (1.0, actions)):
        at = FlowDraw(draw.noise, torch.full((2,), time))
        torch.testing.assert_close(at.noisy(actions, everything), end)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_the_exact_velocity_field_reaches_the_data(steps):
    """Along (A - A_τ) / (1 - τ) Euler's steps are exact, whatever their number."""
    actions, _, draw = some()
    scale = 0.999

    def exact(noisy, time):
        return (actions - noisy) / (1 - time[:, None, None])

    reached = integrate(exact, draw.noise, steps, scale)
    expected = scale * actions + (1 - scale) * draw.noise
    torch.testing.assert_close(reached, expected, atol=1e-5, rtol=1e-5)


def test_the_sampler_looks_at_evenly_spaced_times():
    seen = []

    def record(noisy, time):
        seen.append(time.tolist())
        return torch.zeros_like(noisy)

    integrate(record, torch.zeros(SHAPE), 4, 0.8)
    assert [round(t[0], 6) for t in seen] == [0.0, 0.2, 0.4, 0.6] and len(seen[0]) == 2


@pytest.mark.parametrize("objective", ["action", "velocity"])
def test_the_exact_velocity_has_no_loss(objective):
    actions, mask, draw = some()
    target = draw.target(actions)
    assert flow_loss(target, actions, mask, draw, objective).max() < 1e-10
    assert flow_loss(target + 1, actions, mask, draw, objective).min() > 1e-3


def test_the_action_loss_is_the_velocity_loss_times_what_is_left():
    actions, mask, draw = some()
    velocity = torch.randn(SHAPE)
    left = (1 - draw.time)[:, None, None].square()
    error = left * (velocity - draw.target(actions)).square()
    error = torch.stack([e[m].mean() for e, m in zip(error, mask, strict=True)])
    torch.testing.assert_close(flow_loss(velocity, actions, mask, draw, "action"), error)
    plain = (velocity - draw.target(actions)).square()
    plain = torch.stack([e[m].mean() for e, m in zip(plain, mask, strict=True)])
    torch.testing.assert_close(flow_loss(velocity, actions, mask, draw, "velocity"), plain)


@pytest.mark.parametrize("objective", ["action", "velocity"])
def test_masked_entries_cost_nothing_and_hold_no_noise(objective):
    actions, mask, draw = some()
    velocity = draw.target(actions)
    other = torch.where(mask, velocity, 1e3)
    assert flow_loss(other, actions, mask, draw, objective).max() < 1e-10
    assert (draw.noisy(actions, mask)[~mask] == 0).all()
    nothing = torch.zeros_like(mask)
    assert not flow_loss(velocity, actions, nothing, draw, objective).any()


def test_given_frames_are_the_data_and_the_others_as_drawn():
    actions, mask, draw = some()
    given = draw.give(torch.tensor([0, 2]))
    assert (given.time[1, :2] == DATA).all()
    for row, first in ((0, 0), (1, 2)):
        assert torch.equal(given.time[row, first:], draw.time[row].expand(5 - first))
    noisy = given.noisy(actions, mask)
    assert torch.equal(noisy[1, :2], actions[1, :2])
    assert torch.equal(noisy[0], draw.noisy(actions, mask)[0])
    assert torch.equal(noisy[1, 2:], draw.noisy(actions, mask)[1, 2:])
    assert torch.equal(given.give(torch.tensor([1, 0])).time[1, :2], given.time[1, :2])


@pytest.mark.parametrize("objective", ["action", "velocity"])
def test_given_frames_neither_count_nor_dilute(objective):
    """The loss is the mean over the others, and has no gradient in what is given."""
    actions, mask, draw = some()
    velocity = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), requires_grad=True)
    told = actions, mask, draw.give(torch.tensor([2, 2])), objective
    found = flow_loss(velocity, *told)
    alone = FlowDraw(draw.noise[:, 2:], draw.time)
    torch.testing.assert_close(
        found, flow_loss(velocity[:, 2:], actions[:, 2:], mask[:, 2:], alone, objective)
    )
    found.sum().backward()
    assert not velocity.grad[:, :2].any() and velocity.grad[:, 2:][mask[:, 2:]].all()
    everything = draw.give(torch.tensor([5, 5]))
    assert not flow_loss(velocity, actions, mask, everything, objective).any()


def test_flow_times_follow_their_distribution():
    """1 - τ/0.999 ~ Beta(1.5, 1), whose mean is 0.6 and whose share below 0.5 is 0.5^1.5."""
    actions = torch.zeros(20_000, 1, 1)
    time = FlowDraw.sample(actions, 1.5, 0.999, torch.Generator().manual_seed(0)).time
    u = 1 - time / 0.999
    assert time.min() >= 0 and time.max() <= 0.999
    assert abs(u.mean() - 0.6) < 0.01
    assert abs((u < 0.5).float().mean() - 0.5**1.5) < 0.015


def test_a_seed_decides_the_draw():
    first, again, other = (some(seed)[2] for seed in (1, 1, 2))
    assert torch.equal(first.noise, again.noise) and torch.equal(first.time, again.time)
    assert not torch.equal(first.noise, other.noise)
