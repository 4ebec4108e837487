"""LimitTable: the limits of a robot as arrays over the channels of its layout."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rvq_action.layout import ROTATION_UNIT, ActionLayout
from vla.deploy.braking import braking_speed
from vla.deploy.hands import HandGuard
from vla.deploy.limits import ChannelLimits, Limits, RotationLimits, Workspace
from vla.deploy.rates import rate_channels

POSITION_UNITS = ("m", "m/s")


@dataclass(frozen=True)
class Turn:
    """The limits of one rotation: the slice of its six channels, rad/s and rad/s²."""

    part: str
    block: slice
    limits: RotationLimits


@dataclass(frozen=True)
class Reach:
    """A box for a hand that is commanded by velocities.

    Attributes:
        channels: int [3], in which proprio holds the position and commands the velocity.
        low: float64 [3], m.
        high: float64 [3], m.
        lag: Of the hand behind its commands [s].
    """

    channels: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lag: float

    def speeds(
        self, at: np.ndarray, pending: np.ndarray, slowing: np.ndarray, period: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest velocities that keep a hand inside.

        Args:
            at: float64 [3], where it is measured to be.
            pending: float64 [3], way that it has been told to go and has not gone yet [m].
            slowing: float64 [3], how fast its velocity may change per second.
            period: [s].

        Returns:
            float64 [3] each.
        """
        ends = np.stack([at, at + pending])
        up = braking_speed(self.high - ends, slowing, period).min(0)
        return -braking_speed(ends - self.low, slowing, period).min(0), up

    def left(self, pending: np.ndarray, velocity: np.ndarray, period: float) -> np.ndarray:
        """The pending way [3] after another period at a velocity [3]."""
        share = np.exp(-period / self.lag) if self.lag else 0.0
        return share * (pending + velocity * period)


@dataclass(frozen=True)
class LimitTable:
    """Limits by channel.

    Attributes:
        names: The layout's channels.
        rates: bool [D], channels that are velocities: they are 0 at rest.
        low: float64 [D], of the value.
        high: float64 [D].
        velocity: float64 [D], of the value's change per second.
        acceleration: float64 [D], of the change of that per second.
        turns: Of rotations.
        reaches: Boxes for hands commanded by velocities.
        hands: Boxes for hands that joints move.
    """

    names: tuple[str, ...]
    rates: np.ndarray
    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    turns: tuple[Turn, ...]
    reaches: tuple[Reach, ...]
    hands: tuple[HandGuard, ...]

    @classmethod
    def build(cls, limits: Limits, layout: ActionLayout) -> LimitTable:
        """The limits of a robot with this layout.

        Raises:
            ValueError: They name a channel, group or part that the layout does not have, limit a
                6-D rotation channel by channel, or put a box around joints.
        """
        _check_names(limits, layout)
        rows = [_of(limits, layout, index) for index in range(layout.width)]
        columns = {
            name: np.array([getattr(row, name) for row in rows])
            for name in ("low", "high", "velocity", "acceleration")
        }
        reaches = []
        for box in limits.workspace:
            channels = np.array([layout.index(name) for name in box.channels])
            corners = np.array(box.low), np.array(box.high)
            if _unit(layout, box) == "m":
                _tighten(columns, channels, *corners)
            else:
                reaches.append(Reach(channels, *corners, box.lag))
        turns = [
            Turn(part, slice(block[0], block[-1] + 1), limit)
            for part, limit in limits.rotations.items()
            if (block := layout.rotation_of(part)) is not None
        ]
        values = columns["low"], columns["high"]
        speeds = columns["velocity"], columns["acceleration"]
        hands = tuple(HandGuard(hand, layout) for hand in limits.hands)
        more = tuple(turns), tuple(reaches)
        return cls(layout.names, rate_channels(layout), *values, *speeds, *more, hands)

    def slowed(self, speed: float) -> LimitTable:
        """The limits at a fraction of the speed: as if time passed so much slower.

        Raises:
            ValueError: The speed is not within 0..1.
        """
        if not 0 < speed <= 1:
            raise ValueError(
                f"speed is a fraction of full speed, above 0 and up to 1; got {speed}."
            )
        value = np.where(self.rates, speed, 1.0)
        return replace(
            self,
            low=self.low * value,
            high=self.high * value,
            velocity=self.velocity * value * speed,
            acceleration=self.acceleration * value * speed**2,
            turns=tuple(replace(turn, limits=_slower(turn.limits, speed)) for turn in self.turns),
        )


def _slower(limits: RotationLimits, speed: float) -> RotationLimits:
    return RotationLimits(limits.velocity * speed, limits.acceleration * speed**2)


def _tighten(
    columns: dict[str, np.ndarray], channels: np.ndarray, low: np.ndarray, high: np.ndarray
) -> None:
    columns["low"][channels] = np.maximum(columns["low"][channels], low)
    columns["high"][channels] = np.minimum(columns["high"][channels], high)
    if (columns["low"] >= columns["high"]).any():
        raise ValueError("The workspace and the limits of its channels leave nothing in between.")


def _of(limits: Limits, layout: ActionLayout, index: int) -> ChannelLimits:
    channel = layout.channels[index]
    group = limits.channels.get(channel.group, ChannelLimits())
    return limits.channels.get(channel.name, group)


def _unit(layout: ActionLayout, box: Workspace) -> str:
    units = {layout.channels[layout.index(name)].unit for name in box.channels}
    unit = units.pop()
    if units or unit not in POSITION_UNITS:
        raise ValueError(
            f"The workspace of {list(box.channels)} is in m, but layout {layout.name!r} holds them "
            f"in {sorted({unit, *units})}. A box around the hand of a robot commanded by joints "
            "takes forward kinematics: give it under `hands`, with the robot's URDF."
        )
    return unit


def _check_names(limits: Limits, layout: ActionLayout) -> None:
    groups = {*layout.names, *layout.groups}
    parts = {c.part for c in layout.channels if layout.rotation_of(c.part) is not None}
    boxes = [name for box in limits.workspace for name in box.channels]
    for given, known in (
        (limits.channels, groups),
        (boxes, layout.names),
        (limits.rotations, parts),
    ):
        if unknown := [name for name in given if name not in known]:
            raise ValueError(
                f"The limits name {unknown}, which layout {layout.name!r} does not have: one of "
                f"{sorted(known)}."
            )
    for index, channel in enumerate(layout.channels):
        if channel.unit == ROTATION_UNIT and _of(limits, layout, index) != ChannelLimits():
            raise ValueError(
                f"The limits bound {channel.name!r} by itself, which is one number of a 6-D "
                f"rotation. Bound the whole: rotations: {{{channel.part}: {{velocity: ...}}}}."
            )
