"""What keeps a robot where it is."""

from __future__ import annotations

import numpy as np

from rvq_action.layout import ActionLayout, Channel, DeltaRule
from vla.deploy.robots.stance import Stance

LAYOUT = ActionLayout(
    "cart",
    tuple(Channel(n, u, "cart", DeltaRule.RAW) for n, u in (("lift", "m"), ("turn", "rad/s"))),
)


def test_it_is_where_it_stood_when_it_was_first_held():
    stance = Stance(LAYOUT)
    stance.saw(np.array([0.5, 3.0]))
    stance.saw(np.array([0.4, 3.0]))
    np.testing.assert_array_equal(stance.rest(), [0.4, 0.0])
    stance.saw(np.array([0.3, 0.0]))
    np.testing.assert_array_equal(stance.rest(), [0.4, 0.0])


def test_it_is_what_it_was_told_last_at_rest():
    stance = Stance(LAYOUT)
    stance.told(np.array([0.7, 2.0]))
    stance.saw(np.array([0.6, 2.0]))
    np.testing.assert_array_equal(stance.rest(), [0.7, 0.0])
    stance.told(np.array([0.8, 2.0]))
    np.testing.assert_array_equal(stance.rest(), [0.8, 0.0])


def test_velocities_end_wherever_it_stands_and_its_place_is_taken_when_it_is_known():
    stance = Stance(LAYOUT)
    np.testing.assert_array_equal(stance.rest(), [np.nan, 0.0])
    stance.saw(np.array([np.inf, 1.0]))
    np.testing.assert_array_equal(stance.rest(), [np.nan, 0.0])
    stance.saw(np.array([0.5, np.nan]))
    np.testing.assert_array_equal(stance.rest(), [0.5, 0.0])
