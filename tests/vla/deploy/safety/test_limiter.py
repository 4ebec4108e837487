"""Whatever is asked for, nothing out of limits leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rvq_action import WALL_26, ActionLayout
from rvq_action.layout import Channel, DeltaRule
from rvq_action.rotation import (
    axis_angle_to_matrix,
    geodesic_angle,
    matrix_to_axis_angle,
    matrix_to_rot6d,
    rot6d_to_matrix,
)
from tests.rvq_action.robots import ARM
from vla.deploy.safety.limiter import Limiter, LimitViolation
from vla.deploy.safety.limits import LARGEST, ChannelLimits, Limits, RotationLimits, Workspace

RATE = 20.0
TIGHT = Limits(
    {
        "joints/position": ChannelLimits(-1.0, 1.0, velocity=2.0, acceleration=8.0),
        "joint_2": ChannelLimits(-0.5, 0.5, acceleration=8.0),
        "gripper": ChannelLimits(0.0, 1.0, velocity=3.0),
    }
)
HAND = ActionLayout(
    "hand",
    tuple(Channel(n, "m/s", "hand/velocity", DeltaRule.RAW) for n in ("vx", "vy", "vz")),
)


def asked_for(kind: str, rng: np.random.Generator, count: int = 400) -> np.ndarray:
    """[count, 4] commands that nobody should send."""
    if kind == "noise":
        return rng.normal(0, 2, (count, 4))
    if kind == "jumps":
        return np.repeat(rng.uniform(-5, 5, (count // 20, 4)), 20, axis=0)
    if kind == "huge":
        return rng.choice([-1e12, -1e-9, 0.0, 1e-9, 1e12], (count, 4))
    walk = np.cumsum(rng.normal(0, 0.05, (count, 4)), axis=0)
    return walk


def send(limiter: Limiter, commands: np.ndarray, start: np.ndarray) -> np.ndarray:
    limiter.start(start)
    return np.stack([start, *(limiter.limit(c, start).values for c in commands)])


@pytest.mark.parametrize("speed", [1.0, 0.25])
@pytest.mark.parametrize("kind", ["noise", "jumps", "huge", "walk"])
def test_values_velocities_and_accelerations_stay_within(kind, speed):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        limiter = Limiter(TIGHT, ARM, RATE, speed)
        sent = send(limiter, asked_for(kind, rng), np.zeros(4))
        table, eps = limiter.table, 1e-9
        velocity = np.diff(sent, axis=0) * RATE
        acceleration = np.diff(np.vstack([np.zeros(4), velocity]), axis=0) * RATE
        assert (sent >= table.low - eps).all() and (sent <= table.high + eps).all()
        assert (np.abs(velocity) <= table.velocity + eps).all()
        assert (np.abs(acceleration) <= table.acceleration + 1e-6).all()


def test_what_is_within_passes_untouched():
    time = np.arange(200)[:, None] / RATE
    commands = np.hstack([0.4 * np.sin(0.8 * time + p) for p in range(3)] + [0.5 + 0 * time])
    limiter = Limiter(TIGHT, ARM, RATE)
    limiter.start(commands[0])
    ramp = np.minimum(np.arange(200) / 40, 1.0)[:, None]
    commands = commands[0] + ramp * (commands - commands[0])
    for command in commands:
        limited = limiter.limit(command, commands[0])
        assert limited.clipped == ()
        np.testing.assert_array_equal(limited.values, command)


def test_a_jump_is_followed_without_overshoot_and_a_moving_target_is_caught():
    limiter = Limiter(TIGHT, ARM, RATE)
    jump = np.array([0.8, -0.8, 0.3, 1.0])
    sent = send(limiter, np.tile(jump, (60, 1)), np.zeros(4))
    np.testing.assert_allclose(sent[-1], jump, atol=1e-9)
    assert (np.abs(sent) <= np.abs(jump) + 1e-9).all()
    slope = 0.2 + 0.5 * np.arange(30)[:, None] / RATE * np.array([1, 1, 0.2, 0])
    sent = send(Limiter(TIGHT, ARM, RATE), slope, np.zeros(4))
    np.testing.assert_allclose(sent[-1], slope[-1], atol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_number_that_is_none_leaves(bad):
    limiter = Limiter(TIGHT, ARM, RATE)
    limiter.start(np.zeros(4))
    command = np.zeros(4)
    command[2] = bad
    with pytest.raises(LimitViolation, match="4 finite numbers"):
        limiter.limit(command, np.zeros(4))
    assert limiter.limit(np.zeros(4), np.zeros(4)).clipped == ()


@pytest.mark.parametrize("size", [1e39, 1e307, 1.7e308])
@pytest.mark.parametrize("limits", [TIGHT, Limits({"joint_0": ChannelLimits(velocity=2.0)})])
def test_numbers_beyond_anything_physical_are_followed_no_faster_than_others(limits, size):
    """There and back, so that the way between two of them is no number any more."""
    limiter = Limiter(limits, ARM, RATE)
    sent = send(limiter, np.array([[size] * 4, [-size] * 4] * 4), np.zeros(4))
    assert np.isfinite(sent).all() and (np.abs(sent) <= LARGEST).all()
    assert (np.abs(np.diff(sent, axis=0)) * RATE <= limiter.table.velocity + 1e-9).all()
    assert limiter.limit(np.full(4, size), np.zeros(4)).clipped == ARM.names


def test_a_rotation_of_numbers_beyond_anything_physical_turns_no_faster_than_others():
    limits = Limits(rotations={"right_arm": RotationLimits(1.5)})
    block = slice(WALL_26.index("right_rot6d_0"), WALL_26.index("right_rot6d_5") + 1)
    start, command = np.zeros(26), np.zeros(26)
    start[block], command[block] = [1, 0, 0, 0, 1, 0], [1e308, -1e308, 0, 1e308, 1e200, 1e-300]
    sent = torch.from_numpy(send(Limiter(limits, WALL_26, RATE), command[None], start)[:, block])
    turned = geodesic_angle(*rot6d_to_matrix(sent))
    assert float(turned) * RATE == pytest.approx(1.5)


def test_a_robot_beyond_anything_physical_is_refused():
    for far in (np.inf, 1e308):
        with pytest.raises(LimitViolation, match=r"outside its limits: joint_0 (inf|1e\+308)"):
            Limiter(Limits(), ARM, RATE).start(np.array([far, 0, 0, 0]))


def test_what_comes_out_as_no_number_is_refused_and_forgotten():
    """A place so far away that the way to the wall is none."""
    told = ChannelLimits(-1.0, 1.0, velocity=10.0, position=(-1.0, 1.0))
    limiter, rates = Limiter(Limits({"vx": told}), HAND, RATE), np.array([0.5, 0.2, 0.0])
    sent = limiter.limit(rates, np.zeros(3)).values
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=r"for \['vx'\]"):
        limiter.limit(rates, np.array([1.7e308, 0.0, 0.0]))
    np.testing.assert_array_equal(limiter.limit(rates, np.zeros(3)).values, sent)


def test_stopping_names_the_channels_and_what_would_be_allowed():
    limiter = Limiter(replace(TIGHT, on_violation="stop"), ARM, RATE)
    limiter.start(np.zeros(4))
    assert limiter.limit(np.array([0.01, 0, 0, 0]), np.zeros(4)).clipped == ()
    with pytest.raises(LimitViolation, match=r"limits: joint_1 0\.9 \(nearest allowed: 0\.02\)\.$"):
        limiter.limit(np.array([0.02, 0.9, 0, 0]), np.zeros(4))


def test_clipped_channels_are_named():
    limiter = Limiter(TIGHT, ARM, RATE)
    limiter.start(np.zeros(4))
    assert limiter.limit(np.array([0.0, 3.0, 0.0, 5.0]), np.zeros(4)).clipped == (
        "joint_1",
        "gripper",
    )


def test_a_robot_far_outside_is_refused_and_one_a_hair_outside_is_not():
    limiter = Limiter(TIGHT, ARM, RATE)
    with pytest.raises(LimitViolation, match="joint_0 1.5 .nearest allowed: 1.*by hand"):
        limiter.start(np.array([1.5, 0, 0, 0]))
    limiter.start(np.array([1.015, 0, 0, 0]))
    assert limiter.limit(np.array([1.015, 0, 0, 0]), np.zeros(4)).values[0] == 1.0


def test_a_robot_outside_its_limits_is_refused_however_fast_it_may_move():
    fast = ChannelLimits(-1.0, 1.0, velocity=1000.0)
    one_sided = ChannelLimits(low=-1.0)
    told = {"joint_0": ChannelLimits(-1.0, 1.0), "joint_1": fast, "joint_2": one_sided}
    limiter = Limiter(Limits(told), ARM, RATE)
    for channel in range(3):
        at = np.zeros(4)
        at[channel] = -1.1
        with pytest.raises(
            LimitViolation, match=f"limits: joint_{channel} -1.1 .nearest allowed: -1."
        ):
            limiter.start(at)
        at[channel] = -1.005
        limiter.start(at)


def test_after_a_hold_the_robot_starts_from_rest():
    limiter = Limiter(TIGHT, ARM, RATE)
    assert limiter.rest() is None
    sent = send(limiter, np.tile([0.9, 0, 0, 0], (8, 1)), np.zeros(4))
    held = limiter.rest()
    np.testing.assert_array_equal(held, sent[-1])
    next_one = limiter.limit(np.array([0.9, 0, 0, 0]), np.zeros(4)).values
    assert (next_one[0] - held[0]) * RATE**2 <= 8.0 + 1e-9


def test_channels_that_the_robot_does_not_tell_start_where_they_are_first_asked_to():
    limiter = Limiter(Limits({"gripper": ChannelLimits(0.0, 1.0)}), ARM, RATE)
    limiter.start(np.array([0, 0, 0, np.nan]))
    assert limiter.limit(np.array([0, 0, 0, 0.9]), np.zeros(4)).values[3] == 0.9
    assert limiter.limit(np.array([0, 0, 0, 1.5]), np.zeros(4)).values[3] == 1.0


def test_a_limited_channel_of_unknown_place_gets_no_first_command():
    for limits in (TIGHT, Limits({"gripper": ChannelLimits(acceleration=3.0)})):
        with pytest.raises(LimitViolation, match=r"does not say where \['gripper'\] are"):
            Limiter(limits, ARM, RATE).limit(np.full(4, 0.9), np.array([0, 0, 0, np.nan]))
    state = np.zeros(26)
    state[WALL_26.index("right_rot6d_3")] = np.nan
    turning = Limiter(Limits(rotations={"right_arm": RotationLimits(1.5)}), WALL_26, RATE)
    with pytest.raises(LimitViolation, match=r"does not say where \['right_rot6d_3'\] are"):
        turning.start(state)


@pytest.mark.parametrize("acceleration", [np.inf, 6.0])
def test_rotations_turn_within_their_speed_and_stay_rotations(acceleration):
    limits = Limits(rotations={"right_arm": RotationLimits(1.5, acceleration)})
    limiter = Limiter(limits, WALL_26, RATE)
    block = slice(WALL_26.index("right_rot6d_0"), WALL_26.index("right_rot6d_5") + 1)
    start = np.zeros(26)
    start[block] = [1, 0, 0, 0, 1, 0]
    rng = np.random.default_rng(0)
    commands = np.tile(start, (120, 1))
    commands[:, block] = np.repeat(rng.normal(0, 1, (6, 6)), 20, axis=0)
    sent = torch.from_numpy(send(limiter, commands, start)[:, block])
    matrices = rot6d_to_matrix(sent)
    turned = matrix_to_axis_angle(matrices[:-1].mT @ matrices[1:]) * RATE
    assert float(turned.norm(dim=-1).max()) <= 1.5 + 1e-6
    changed = (turned[1:] - turned[:-1]).norm(dim=-1) * RATE
    assert float(changed.max()) <= acceleration + 1e-4
    torch.testing.assert_close(matrix_to_rot6d(matrices), sent, atol=1e-9, rtol=0)


def test_a_rotation_reaches_its_target():
    limits = Limits(rotations={"right_arm": RotationLimits(1.5, 6.0)})
    limiter = Limiter(limits, WALL_26, RATE)
    block = slice(WALL_26.index("right_rot6d_0"), WALL_26.index("right_rot6d_5") + 1)
    start, target = np.zeros(26), np.zeros(26)
    start[block] = [1, 0, 0, 0, 1, 0]
    wanted = axis_angle_to_matrix(torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64))
    target[block] = matrix_to_rot6d(wanted).numpy()
    sent = send(limiter, np.tile(target, (60, 1)), start)[-1, block]
    assert float(geodesic_angle(rot6d_to_matrix(torch.from_numpy(sent)), wanted)) < 1e-6


def test_a_hand_that_lags_behind_its_commands_stays_inside_all_the_same():
    """It goes a fifth of the way that it has been told in every period."""
    box = Workspace(HAND.names, (-0.2, -0.2, 0.0), (0.2, 0.2, 0.3), lag=0.3)
    told = {"hand/velocity": ChannelLimits(-1.0, 1.0, velocity=10.0)}
    reached = {}
    for lag in (0.0, 0.3):
        limits = Limits(told, workspace=(replace(box, lag=lag),))
        limiter, hand, goal = Limiter(limits, HAND, RATE), np.zeros(3), np.zeros(3)
        for _ in range(60):
            goal = goal + limiter.limit(np.array([3.0, 0.0, 0.0]), hand).values / RATE
            hand = hand + 0.2 * (goal - hand)
            reached[lag] = max(reached.get(lag, 0.0), hand[0])
    assert reached[0.0] > 0.25 and 0.17 < reached[0.3] < 0.205


def test_a_hand_driven_by_velocities_never_leaves_its_box():
    """It moves as commanded; whatever the wish, each step ends inside."""
    limits = Limits(
        {"hand/velocity": ChannelLimits(-1.0, 1.0, velocity=10.0)},
        workspace=(Workspace(HAND.names, (-0.2, -0.2, 0.0), (0.2, 0.2, 0.3)),),
    )
    limiter, rng = Limiter(limits, HAND, RATE), np.random.default_rng(0)
    hand = np.array([0.0, 0.0, 0.1])
    seen = []
    for wish in np.repeat(rng.uniform(-3, 3, (40, 3)), 10, axis=0):
        velocity = limiter.limit(wish, hand).values
        assert (np.abs(velocity) <= 1.0).all()
        hand = hand + velocity / RATE
        seen.append(hand)
    seen = np.array(seen)
    assert (seen >= [-0.2 - 1e-9, -0.2 - 1e-9, -1e-9]).all()
    assert (seen <= [0.2 + 1e-9, 0.2 + 1e-9, 0.3 + 1e-9]).all()
    assert np.ptp(seen, axis=0).min() > 0.25
    outside = limiter.limit(np.array([0.5, -0.5, 0.0]), np.array([0.4, 0.0, 0.1])).values
    assert outside[0] <= 0.0
    with pytest.raises(LimitViolation, match="position of .* is not known"):
        limiter.limit(np.zeros(3), np.full(3, np.nan))
