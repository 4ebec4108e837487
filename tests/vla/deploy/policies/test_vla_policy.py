"""A VLAPolicy in front of a robot: its cameras, its normalisation, its committed frames."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vla.conftest import SIZE, observe, picture, start
from vla.deploy.policies.policy import Committed, Request
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.robots.protocol import RobotObservation

HORIZON = 20


def seen(cameras=("front", "wrist"), size=SIZE) -> RobotObservation:
    now = observe("arm")
    images = {name: picture(i, size, size) for i, name in enumerate(cameras)}
    return RobotObservation(0.0, now.proprio.numpy(), images)


def test_it_tells_what_it_needs(policy):
    about = DeployedVLA(policy, "arm").description
    assert (about.embodiment, about.fps, about.horizon) == ("arm", 20.0, HORIZON)
    assert about.cameras == {"front": "front", "wrist": "wrist"} and about.real_time
    assert about.layout == policy.tokenizer.layout("arm")


def test_it_tells_servers_what_it_needs_and_which_policy_it_is(policy, tokenizer):
    deployed = DeployedVLA(policy, "arm")
    assert deployed.needs == ("joint_0", "joint_1", "joint_2", "gripper")
    assert deployed.image_size == SIZE
    other, again = (DeployedVLA(start(tokenizer, seed), "arm") for seed in (1, 0))
    assert deployed.fingerprint == again.fingerprint != other.fingerprint


def test_it_refuses_a_robot_without_normalisation_and_cameras_it_does_not_have(policy):
    with pytest.raises(KeyError, match="Unknown robot 'koch'; this policy knows"):
        DeployedVLA(policy, "koch")
    with pytest.raises(ValueError, match="Say which robot"):
        DeployedVLA(policy)
    with pytest.raises(ValueError, match=r"has no camera \['top'\]"):
        DeployedVLA(policy, "arm", {"top": "front"})


def test_it_refuses_steps_that_would_leave_the_noise_as_it_is(policy):
    for steps in (0, -1):
        with pytest.raises(ValueError, match=f"start at 1, got {steps}"):
            DeployedVLA(policy, "arm", steps=steps)


def test_cameras_of_other_names_and_sizes(policy):
    deployed = DeployedVLA(policy, "arm", {"front": "left", "wrist": "right"}, steps=2)
    same = DeployedVLA(policy, "arm", steps=2)
    own, renamed = seen(), seen(("left", "right"))
    first = same.act(Request(own, "wave"))
    np.testing.assert_allclose(deployed.act(Request(renamed, "wave")), first, atol=1e-6)
    larger = deployed.act(Request(seen(("left", "right"), 2 * SIZE), "wave"))
    assert larger.shape == first.shape == (HORIZON, 4)


def test_its_noise_follows_from_seed_and_number(policy):
    told = seen()
    first, again, second, other = (
        DeployedVLA(policy, "arm", steps=2, seed=seed).act(Request(told, "wave", number))
        for seed, number in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).max() > 0.01 and np.abs(first - other).max() > 0.01


def test_committed_frames_pull_it_in_physical_units(policy):
    """They are told absolute; the policy acts relative to the state of now."""
    deployed = DeployedVLA(policy, "arm", steps=5)
    free = deployed.act(Request(seen(), "wave"))
    wanted = deployed.act(Request(seen(), "wave", 1)).astype(np.float64)
    committed = Committed(wanted[:12], 6)
    pulled = deployed.act(Request(seen(), "wave", 0, committed))
    missed = [np.abs(chunk[:6] - wanted[:6]).mean() for chunk in (free, pulled)]
    assert missed[1] < missed[0]


@pytest.fixture(scope="module")
def going_on(tokenizer):
    """A policy that may be given six frames."""
    return start(tokenizer, committed_frames=6)


def test_committed_frames_are_given_to_a_policy_that_was_trained_for_as_many(going_on, caplog):
    deployed = DeployedVLA(going_on, "arm", steps=3)
    free = deployed.act(Request(seen(), "wave"))
    running = deployed.act(Request(seen(), "wave", 1)).astype(np.float64)
    chunk = deployed.act(Request(seen(), "wave", 0, Committed(running[:9], 6)))
    np.testing.assert_allclose(chunk[:6], running[:6], atol=1e-4)
    assert np.abs(chunk[6:] - free[6:]).max() > 0.01
    longer = running.copy()
    longer[6:] = 0.0
    same = deployed.act(Request(seen(), "wave", 0, Committed(longer, 6)))
    np.testing.assert_allclose(same, chunk, atol=1e-5)
    assert not caplog.records


def test_it_is_given_what_will_have_been_executed_and_no_more_than_it_was_trained_for(going_on):
    deployed = DeployedVLA(going_on, "arm", steps=3)
    running = deployed.act(Request(seen(), "wave", 1)).astype(np.float64)
    chunks = {
        delay: deployed.act(Request(seen(), "wave", 0, Committed(running, delay)))
        for delay in (2, 6, 7, 20)
    }
    for delay, count in ((2, 2), (6, 6), (7, 6), (20, 6)):
        np.testing.assert_allclose(chunks[delay][:count], running[:count], atol=1e-4)
        assert np.abs(chunks[delay][count:] - running[count:]).max() > 1e-3
    assert np.abs(chunks[2][2:6] - chunks[6][2:6]).max() > 1e-3
    np.testing.assert_array_equal(chunks[7], chunks[6])
    np.testing.assert_array_equal(chunks[20], chunks[6])


def test_without_it_is_guided_and_says_once_how_to_have_it_sooner(policy, going_on, caplog):
    caplog.set_level("INFO", "vla.deploy")
    running = DeployedVLA(going_on, "arm", steps=3).act(Request(seen(), "wave", 1))
    asked = Request(seen(), "wave", 0, Committed(running.astype(np.float64), 4))
    given, guided = (
        DeployedVLA(going_on, "arm", steps=3, committed_frames=n).act(asked) for n in (None, 0)
    )
    assert np.abs(given - guided).max() > 0.01
    assert not caplog.records, "it was asked for"
    old = DeployedVLA(policy, "arm", steps=3)
    for _ in range(2):
        old.act(asked)
    (said,) = (record.getMessage() for record in caplog.records)
    assert "was not trained to go on from given frames (--vla.committed_frames)" in said


def test_it_is_not_given_more_than_it_was_trained_for(policy, going_on):
    with pytest.raises(ValueError, match="from 6 given frames at most, got committed_frames=7"):
        DeployedVLA(going_on, "arm", committed_frames=7)
    assert DeployedVLA(policy, "arm").committed_frames == 0


def test_flow_space_is_what_the_flow_head_gives(policy):
    now = observe("arm")
    batch = policy.batch([policy.samples.to_act(now, 8)])
    moved = policy.model.sample_actions(batch, steps=2)
    physical = policy._physical(now, moved[0])
    given = policy.samples.in_flow_space(now, physical)
    inside = policy.samples.in_flow_space(now, policy._physical(now, given.x[0]))
    np.testing.assert_allclose(given.x, inside.x, atol=1e-4)
    assert given.x.shape == moved.shape and given.mask[0, 0, :4].all()
