"""LimitTable: the limits of a robot as arrays over the channels of its layout."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rvq_action.layout import ROTATION_UNIT, ActionLayout
from vla.deploy.safety.hands import HandGuard
from vla.deploy.safety.limits import LARGEST, ChannelLimits, Limits, RotationLimits, Workspace
from vla.deploy.safety.rates import rate_channels
from vla.deploy.safety.reach import Reach

POSITION_UNITS = ("m", "m/s")


@dataclass(frozen=True)
class Turn:
    """The limits of one rotation: the slice of its six channels, rad/s and rad/s²."""

    part: str
    block: slice
    limits: RotationLimits


@dataclass(frozen=True)
class LimitTable:
    """Limits by channel.

    Attributes:
        names: The layout's channels.
        rates: bool [D], channels that are rates: they are 0 at rest.
        low: float64 [D], of the value.
        high: float64 [D].
        velocity: float64 [D], of the value's change per second.
        acceleration: float64 [D], of the change of that per second.
        turns: Of rotations.
        reach: Where channels that are rates may lead to.
        hands: Boxes for hands that joints move.
    """

    names: tuple[str, ...]
    rates: np.ndarray
    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    turns: tuple[Turn, ...]
    reach: Reach
    hands: tuple[HandGuard, ...]

    @classmethod
    def build(cls, limits: Limits, layout: ActionLayout) -> LimitTable:
        """The limits of a robot with this layout.

        Raises:
            ValueError: They name a channel, group or part that the layout does not have, limit a
                6-D rotation channel by channel, put a box around joints, give the `position` of a
                channel that is one, or leave nothing between a channel's own and its group's.
        """
        _check_names(limits, layout)
        rows = [_of(limits, layout, index) for index in range(layout.width)]
        columns = {
            name: np.array([getattr(row, name) for row in rows])
            for name in ("low", "high", "velocity", "acceleration")
        }
        for box in limits.workspace:
            if _unit(layout, box) == "m":
                _tighten(columns, [layout.index(name) for name in box.channels], box)
        turns = [
            Turn(part, slice(block[0], block[-1] + 1), limit)
            for part, limit in limits.rotations.items()
            if (block := layout.rotation_of(part)) is not None
        ]
        values = columns["low"], columns["high"]
        speeds = columns["velocity"], columns["acceleration"]
        hands = tuple(HandGuard(hand, layout) for hand in limits.hands)
        more = tuple(turns), reach_of(limits, layout)
        return cls(layout.names, rate_channels(layout), *values, *speeds, *more, hands)

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """The nearest to values [D] within low and high; where these are infinite, `LARGEST`."""
        return np.clip(values, np.maximum(self.low, -LARGEST), np.minimum(self.high, LARGEST))

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


def reach_of(limits: Limits, layout: ActionLayout) -> Reach:
    """Where channels that are rates may lead to: by their own limits, and by boxes in m/s.

    Raises:
        ValueError: As `LimitTable.build`.
    """
    rates, reach = rate_channels(layout), Reach.everywhere(layout.width)
    for index, channel in enumerate(layout.channels):
        own = _of(limits, layout, index)
        if own.position is None:
            continue
        if not rates[index]:
            raise ValueError(
                f"`position` bounds where a rate leads to, but {channel.name!r} is commanded in "
                f"{channel.unit!r}: bound it by `low` and `high`."
            )
        low, high = own.position
        reach = reach.tightened([index], [low], [high], own.lag)
    for box in limits.workspace:
        if _unit(layout, box) != "m":
            channels = [layout.index(name) for name in box.channels]
            reach = reach.tightened(channels, box.low, box.high, box.lag)
    _check_between(reach.low, reach.high)
    return reach


def _slower(limits: RotationLimits, speed: float) -> RotationLimits:
    return RotationLimits(limits.velocity * speed, limits.acceleration * speed**2)


def _tighten(columns: dict[str, np.ndarray], channels: list[int], box: Workspace) -> None:
    columns["low"][channels] = np.maximum(columns["low"][channels], box.low)
    columns["high"][channels] = np.minimum(columns["high"][channels], box.high)
    _check_between(columns["low"], columns["high"])


def _check_between(low: np.ndarray, high: np.ndarray) -> None:
    if (low >= high).any():
        raise ValueError("The workspace and the limits of its channels leave nothing in between.")


def _of(limits: Limits, layout: ActionLayout, index: int) -> ChannelLimits:
    """Of a channel, and of its group where it has none of its own."""
    channel, none = layout.channels[index], ChannelLimits()
    own, group = (limits.channels.get(name, none) for name in (channel.name, channel.group))
    try:
        return own.over(group)
    except ValueError as error:
        raise ValueError(
            f"{channel.name!r}, with what its group {channel.group!r} bounds: {error}"
        ) from error


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
