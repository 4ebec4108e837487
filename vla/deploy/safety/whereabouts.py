"""Has a robot been moved while nobody saw it?

seen ---- found ---- told                 no: it was on its way to where it was told to be
found ------------- seen ---- told        yes: its last command is nothing to go on from
"""

from __future__ import annotations

import numpy as np
import torch

from rvq_action.rotation import geodesic_angle, rot6d_to_matrix
from vla.deploy.safety.limit_table import LimitTable

PERIODS = 2.0
"""As far as it may be told to go in so many a robot may be off its way."""
SHARE = 0.01
"""Or so much of what lies between its limits, by which it may hang under its load."""


def displaced(
    table: LimitTable, period: float, seen: np.ndarray, told: np.ndarray, found: np.ndarray
) -> tuple[str, ...]:
    """Names of the channels that are neither on their way nor where they were told to be.

    Speeds have no place, and what nothing limits may go anywhere.

    Args:
        table: The robot's limits.
        period: Of its commands [s].
        seen: [D], where it was last seen; NaN where it does not know, which says nothing.
        told: [D], where it was last told to be.
        found: [D], where it is now.
    """
    span = table.high - table.low
    way = PERIODS * _way(table.velocity, table.acceleration, period)
    slack = np.maximum(way, np.where(np.isfinite(span), SHARE * span, 0.0))
    is_off = (found < np.minimum(seen, told) - slack) | (found > np.maximum(seen, told) + slack)
    is_off &= ~table.rates
    for turn in table.turns:
        limit = np.array([turn.limits.velocity]), np.array([turn.limits.acceleration])
        far, before = (_angle(place[turn.block], told[turn.block]) for place in (found, seen))
        is_off[turn.block] = far > before + PERIODS * _way(*limit, period)
    return tuple(np.array(table.names)[is_off].tolist())


def _way(velocity: np.ndarray, acceleration: np.ndarray, period: float) -> np.ndarray:
    """That may be commanded in one period; infinite where nothing limits it."""
    return np.where(np.isfinite(velocity), velocity * period, acceleration * period**2)


def _angle(first: np.ndarray, second: np.ndarray) -> float:
    """Between two rotations, [6] each [rad]."""
    both = torch.from_numpy(np.stack([first, second]).astype(np.float64))
    return float(geodesic_angle(*rot6d_to_matrix(both)))
