"""How fast something may move so that it can still stop in time, in steps of a control period.

A speed v is travelled for one period, then falls by a step δ = acceleration · period in each:

    distance(v) = period · (v + (v - δ) + (v - 2δ) + ...)   over the positive terms

With n terms that is period · (n·v - δ·n·(n-1)/2), and v lies in ((n-1)δ, nδ]. Who keeps to the
speed of the distance that is left can always do so again one step later: moving on by v·period
leaves distance(v - δ), which is what the next slower speed needs.
"""

from __future__ import annotations

import numpy as np


def stopping_distance(speed: np.ndarray, acceleration: np.ndarray, period: float) -> np.ndarray:
    """Distance travelled until standstill, this period's included.

    Args:
        speed: [...] not negative.
        acceleration: [...] at most so much per second; infinite: stops after this period.
        period: [s].

    Returns:
        [...].
    """
    step = np.asarray(acceleration, dtype=np.float64) * period
    with np.errstate(invalid="ignore"):
        terms = np.maximum(np.ceil(speed / step), 1.0)
        slowed = np.where(np.isinf(step), 0.0, step) * terms * (terms - 1) / 2
    return period * (terms * speed - slowed)


def braking_speed(distance: np.ndarray, acceleration: np.ndarray, period: float) -> np.ndarray:
    """Inverse of `stopping_distance`: the largest speed that stops within a distance.

    Args:
        distance: [...]; where it is negative nothing may move.
        acceleration: [...], positive.
        period: [s].

    Returns:
        [...]; infinite where the distance is.
    """
    distance = np.maximum(np.asarray(distance, dtype=np.float64), 0.0)
    step = np.broadcast_to(np.asarray(acceleration, dtype=np.float64) * period, distance.shape)
    is_finite = np.isfinite(distance) & np.isfinite(step)
    step = np.where(is_finite, step, 1.0)
    whole = np.where(is_finite, distance, 0.0) / (period * step)
    terms = np.maximum(np.ceil((np.sqrt(8 * whole + 1) - 1) / 2), 1.0)
    braked = step * (whole + terms * (terms - 1) / 2) / terms
    return np.where(is_finite, braked, distance / period)
