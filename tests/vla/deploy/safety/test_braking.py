"""Speeds from which a stop is still possible."""

from __future__ import annotations

import numpy as np
import pytest

from vla.deploy.safety.braking import braking_speed, stopping_distance

PERIOD = 0.05
NUMBERS = np.random.default_rng(0)


def test_the_two_are_inverses():
    distance, acceleration = NUMBERS.uniform(0, 3, 500), NUMBERS.uniform(0.1, 50, 500)
    speed = braking_speed(distance, acceleration, PERIOD)
    np.testing.assert_allclose(stopping_distance(speed, acceleration, PERIOD), distance, atol=1e-12)


def test_who_keeps_to_the_speed_stops_in_time_and_no_shorter():
    """Braking as hard as allowed from the speed on, the wall is just reached."""
    for distance, acceleration in NUMBERS.uniform([0.01, 0.5], [2, 20], (50, 2)):
        speed, travelled = float(braking_speed(distance, acceleration, PERIOD)), 0.0
        while speed > 0:
            travelled += speed * PERIOD
            speed -= acceleration * PERIOD
        assert travelled == pytest.approx(distance, abs=1e-9)


@pytest.mark.parametrize(
    ("distance", "acceleration", "speed"),
    [(-1.0, 2.0, 0.0), (0.0, np.inf, 0.0), (0.5, np.inf, 10.0), (np.inf, 2.0, np.inf)],
)
def test_ends_of_the_range(distance, acceleration, speed):
    assert braking_speed(np.array(distance), np.array(acceleration), PERIOD) == speed
