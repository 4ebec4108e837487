"""The next value on the way to a command, within velocity and acceleration.

A command that is allowed passes exactly. One that is not is followed as fast as is allowed, at a
speed that falls in time to meet the target, which may move on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rvq_action.rotation import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_rot6d,
    rot6d_to_matrix,
)
from vla.deploy.safety.braking import braking_speed
from vla.deploy.safety.limit_table import LimitTable
from vla.deploy.safety.limits import RotationLimits

CAUGHT_UP = 1e-9
"""Relative distance to the target below which there is nothing to catch up."""


@dataclass(frozen=True)
class Motion:
    """Where channels are and how fast they move.

    Attributes:
        value: float64 [D], the last command.
        velocity: float64 [D], its change per second.
        target: float64 [D], what was last asked for.
    """

    value: np.ndarray
    velocity: np.ndarray
    target: np.ndarray

    @classmethod
    def at_rest(cls, value: np.ndarray) -> Motion:
        return cls(value, np.zeros_like(value), value)

    def towards(self, target: np.ndarray, table: LimitTable, period: float) -> Motion:
        """One period on.

        Args:
            target: float64 [D], `table.nearest` of what is asked for.
            table: The limits; the value must lie within them.
            period: [s].
        """
        low, high = self._allowed(table, period)
        wanted = (target - self.value) / period
        moving = (target - self.target) / period
        behind = self.target - self.value
        has_kept_up = np.abs(behind) <= CAUGHT_UP * (1 + np.abs(self.target))
        is_allowed = has_kept_up & (wanted >= low) & (wanted <= high)
        closing = np.sign(behind) * braking_speed(np.abs(behind), table.acceleration, period)
        speed = np.clip(np.where(is_allowed, wanted, moving + closing), low, high)
        value = np.where(is_allowed, target, self.value + speed * period)
        value = np.clip(value, table.low, table.high)
        return Motion(value, (value - self.value) / period, target)

    def _allowed(self, table: LimitTable, period: float) -> tuple[np.ndarray, np.ndarray]:
        """The slowest and fastest speed [D] of the next period."""
        step = table.acceleration * period
        up = braking_speed(table.high - self.value, table.acceleration, period)
        down = braking_speed(self.value - table.low, table.acceleration, period)
        low = np.maximum(np.maximum(-table.velocity, self.velocity - step), -down)
        high = np.minimum(np.minimum(table.velocity, self.velocity + step), up)
        return low, np.maximum(low, high)


@dataclass(frozen=True)
class Turning:
    """How a rotation is turned and turning.

    Attributes:
        matrix: float64 [3, 3], the last command.
        velocity: float64 [3], rad/s in its own frame.
    """

    matrix: Tensor
    velocity: Tensor

    @classmethod
    def at_rest(cls, rot6d: np.ndarray) -> Turning:
        """From float64 [6]."""
        return cls(_matrix(rot6d), torch.zeros(3, dtype=torch.float64))

    @property
    def rot6d(self) -> np.ndarray:
        """float64 [6]."""
        return matrix_to_rot6d(self.matrix).numpy()

    def towards(self, rot6d: np.ndarray, limits: RotationLimits, period: float) -> Turning:
        """One period on.

        Args:
            rot6d: float64 [6], finite; of any scale.
            limits: Of the speed and its change.
            period: [s].
        """
        target = _matrix(rot6d)
        wanted = matrix_to_axis_angle(self.matrix.mT @ target) / period
        step = limits.acceleration * period
        allowed = _shorten(self.velocity + _shorten(wanted - self.velocity, step), limits.velocity)
        if torch.allclose(allowed, wanted, rtol=0, atol=1e-12):
            return Turning(target, wanted)
        angle = (wanted * period).norm().numpy()
        closing = float(braking_speed(angle, np.array(limits.acceleration), period))
        wanted = _shorten(wanted, closing)
        speed = _shorten(self.velocity + _shorten(wanted - self.velocity, step), limits.velocity)
        return Turning(self.matrix @ axis_angle_to_matrix(speed * period), speed)


def _matrix(rot6d: np.ndarray) -> Tensor:
    return rot6d_to_matrix(torch.from_numpy(np.asarray(rot6d, dtype=np.float64)))


def _shorten(vector: Tensor, length: float) -> Tensor:
    """A vector of at most that length."""
    found = float(vector.norm())
    return vector if found <= length else vector * (length / found)
