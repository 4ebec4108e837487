"""Any limits, any commands, any rests: what leaves is a number, and within the limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rvq_action import WALL_26
from rvq_action.rotation import matrix_to_axis_angle, rot6d_to_matrix
from vla.deploy.safety.limiter import Limiter
from vla.deploy.safety.limits import LARGEST, ChannelLimits, Limits, RotationLimits

COMMANDS = 30
HAND = [WALL_26.index(f"right_{axis}") for axis in "xyz"]
TURN = WALL_26.rotation_of("right_arm")
BASE = WALL_26.index("base_wz")
MORE = 1 + 1e-6
"""Than the limit, by rounding."""


def size(rng: np.random.Generator, least: float, most: float) -> float:
    """Of an order of magnitude between two."""
    return float(10 ** rng.uniform(least, most))


def some_limits(rng: np.random.Generator) -> dict[str, float]:
    """Of a channel that may be at 0, each of them or not."""
    low, high, velocity, acceleration = (size(rng, -2, most) for most in (2, 2, 3, 5))
    told = {"low": -low, "high": high, "velocity": velocity, "acceleration": acceleration}
    return {key: value for key, value in told.items() if rng.random() < 0.7}


def some_limiter(rng: np.random.Generator) -> Limiter:
    place = (-size(rng, -1, 2), size(rng, -1, 2))
    wheel = {"position": place, "lag": rng.choice([0.0, 0.1])} if rng.random() < 0.7 else {}
    limits = Limits(
        {
            "right_arm/position": ChannelLimits(**some_limits(rng)),
            "right_x": ChannelLimits(**some_limits(rng)),
            "base_wz": ChannelLimits(**some_limits(rng), **wheel),
        },
        {"right_arm": RotationLimits(size(rng, -1, 2), size(rng, -1, 3))},
    )
    return Limiter(limits, WALL_26, rng.choice([5.0, 20.0, 100.0]), rng.choice([1.0, 0.2]))


def some_commands(rng: np.random.Generator) -> np.ndarray:
    """[n, 26] of any size, each of which may stay for a while."""
    sizes = 10 ** rng.uniform(-3, rng.choice([2, 30, 308]), (COMMANDS, 26))
    commands = sizes * rng.choice([-1, 0, 1], (COMMANDS, 26))
    return np.repeat(commands, rng.integers(1, 6, COMMANDS), axis=0)[:COMMANDS]


def upright(place: float) -> np.ndarray:
    """[26] at 0, but for where the base has turned to."""
    at = np.zeros(26)
    for block in WALL_26.rotation_blocks:
        at[block] = [1, 0, 0, 0, 1, 0]
    at[BASE] = place
    return at


def motion(before: np.ndarray, sent: np.ndarray, period: float) -> tuple[np.ndarray, np.ndarray]:
    """How fast the hand [3] goes and turns [3] from one command to the next."""
    turn = [rot6d_to_matrix(torch.from_numpy(values[TURN])) for values in (before, sent)]
    angle = matrix_to_axis_angle(turn[0].mT @ turn[1]).numpy()
    return (sent - before)[HAND] / period, angle / period


@pytest.mark.parametrize("seed", range(40))
def test_nothing_out_of_limits_leaves(seed):
    rng = np.random.default_rng(seed)
    limiter, place = some_limiter(rng), 0.0
    table, turns = limiter.table, limiter.table.turns[0].limits
    before, speed, spin = upright(place), np.zeros(3), np.zeros(3)
    for command in some_commands(rng):
        if rng.random() < 0.1 and (held := limiter.rest()) is not None:
            before, speed, spin = held, np.zeros(3), np.zeros(3)
        sent = limiter.limit(command, upright(place)).values
        assert np.isfinite(sent).all() and (np.abs(sent) <= LARGEST).all()
        assert (sent >= table.low).all() and (sent <= table.high).all()

        was, (speed, spin) = (speed, spin), motion(before, sent, limiter.period)
        most, change = table.velocity[HAND], table.acceleration[HAND] * limiter.period
        assert (np.abs(speed) <= most * MORE).all()
        assert (np.abs(speed - was[0]) <= change * MORE).all()
        assert np.linalg.norm(spin) <= turns.velocity * MORE
        if np.linalg.norm(spin) * limiter.period < 3:  # half a turn has no direction
            assert np.linalg.norm(spin - was[1]) <= turns.acceleration * limiter.period * MORE

        place += sent[BASE] * limiter.period
        assert table.reach.low[BASE] - 1e-9 <= place <= table.reach.high[BASE] + 1e-9
        before = sent
