"""Reach: where a robot may be in the channels that it is commanded in by rates.

A joint that is told rad/s, a hand that is told m/s: no command says where that leads. Where they
are is measured, in the same channels of the state and in the unit without its /s. They may go as
fast as still lets them stop before the wall, and from outside only back.

A robot is behind its commands, and what it was told but has not gone yet counts, too. How much that
is nobody sees: of every command some share is left, which falls with its age. A robot that is late
by `delay` and then goes ever slower towards where it was sent has left

    share(age) = 1 until the delay, then exp(-(age - delay) / (lag - delay))

of it, or less. Commands weighed by such shares sum up to something between the lowest and the
highest sum over the latest of them, however many. That is what is kept here, for delays of every
number of periods within the lag: so both ends hold however the lag divides into the two, where it
is smaller than was said, and after a rest of whatever length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla.deploy.safety.braking import braking_speed

EPSILON = 1e-9
"""Of rounding in a number of periods, and in place of a lag of 0."""


@dataclass(frozen=True)
class Underway:
    """Way that was commanded and perhaps not gone yet.

    Attributes:
        recent: float64 [n, D], of the periods within the lag, the latest first.
        fading: float64 [n + 1, 2, D], of commands older than 0 .. n periods the lowest and the
            highest sum of what is left.
    """

    recent: np.ndarray
    fading: np.ndarray

    @property
    def ends(self) -> np.ndarray:
        """float64 [2, D], the least and the most that is still to go; never above and below 0."""
        recent = np.cumsum(np.vstack([np.zeros_like(self.fading[:1, 0]), self.recent]), axis=0)
        least, most = np.moveaxis(recent[:, None] + self.fading, 1, 0)
        return np.stack([least.min(axis=0), most.max(axis=0)])


@dataclass(frozen=True)
class Reach:
    """Bounds of measured positions; infinite: none.

    Attributes:
        low: float64 [D], in the channel's unit without its /s.
        high: float64 [D].
        lag: float64 [D], how far what is measured is behind the commands, at most [s].
    """

    low: np.ndarray
    high: np.ndarray
    lag: np.ndarray

    @classmethod
    def everywhere(cls, width: int) -> Reach:
        return cls(np.full(width, -np.inf), np.full(width, np.inf), np.zeros(width))

    def tightened(
        self, channels: list[int], low: Sequence[float], high: Sequence[float], lag: float
    ) -> Reach:
        """The same with further bounds on some channels."""
        both = Reach(self.low.copy(), self.high.copy(), self.lag.copy())
        both.low[channels] = np.maximum(self.low[channels], low)
        both.high[channels] = np.minimum(self.high[channels], high)
        both.lag[channels] = np.maximum(self.lag[channels], lag)
        return both

    @property
    def is_bound(self) -> np.ndarray:
        """bool [D]."""
        return np.isfinite(self.low) | np.isfinite(self.high)

    def within(
        self,
        rates: np.ndarray,
        at: np.ndarray,
        underway: Underway,
        slowing: np.ndarray,
        period: float,
    ) -> np.ndarray:
        """Rates [D] that keep the robot inside.

        Args:
            rates: float64 [D], as they would be commanded.
            at: float64 [D], measured; finite where it is bound.
            underway: What is to be added to that.
            slowing: float64 [D], how fast a rate may change per second.
            period: [s].
        """
        least, most = np.where(self.is_bound, at, 0.0) + underway.ends
        up = braking_speed(self.high - most, slowing, period)
        down = braking_speed(least - self.low, slowing, period)
        return np.where(self.is_bound, np.clip(rates, -down, up), rates)

    def at_rest(self, period: float) -> Underway:
        """Nothing underway."""
        count, width = int(self._periods(period).max()), len(self.lag)
        return Underway(np.zeros((count, width)), np.zeros((count + 1, 2, width)))

    def after(self, underway: Underway, rates: np.ndarray, period: float) -> Underway:
        """What is underway after another period at rates [D]."""
        way = np.where(self.is_bound, rates * period, 0.0)
        ways = np.vstack([way, underway.recent])
        number = np.arange(len(ways))[:, None]
        slowness = np.maximum(self.lag - np.maximum(number - 1, 0) * period, EPSILON)
        fading = np.exp(-period / slowness)[:, None] * (underway.fading + ways[:, None])
        least, most = np.minimum(fading[:, 0], 0.0), np.maximum(fading[:, 1], 0.0)
        recent = np.where(number < self._periods(period), ways, 0.0)[:-1]
        return Underway(recent, np.stack([least, most], axis=1))

    def _periods(self, period: float) -> np.ndarray:
        """[D], within the lag."""
        return np.ceil(self.lag / period - EPSILON)
