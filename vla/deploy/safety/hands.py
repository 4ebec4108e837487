"""A box for the hand of a robot that is commanded by joints.

Every command's joints are put through forward kinematics. Where one would take the hand out of its
box the way there is gone only as far as the wall, so that it brakes hard; from outside the box only
inwards. Hands that share joints are shortened one after the other, and where the last undoes what
the first was given, all of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rvq_action.data.strict import check_keys, number, numbers, text
from rvq_action.layout import ActionLayout
from vla.deploy.safety.kinematics import ForwardKinematics
from vla.deploy.safety.rates import rate_channels

URDF_UNITS = ("rad", "m")
"""In which a URDF's joints count; channels in other units need a scale."""

HALVINGS = 20
"""Of the way to a wall: the millionth part of what a joint moves in a period."""


@dataclass(frozen=True)
class JointAngle:
    """A channel as a joint of a URDF: angle = scale · (value - zero), in rad, m where it slides.

    Attributes:
        joint: Its name there.
        scale: rad for one of the channel's unit; negative where it turns the other way. None
            where the channel is in rad or m; in any other unit it has to be given.
        zero: The channel's value where the URDF's joint is at 0.
    """

    joint: str
    scale: float | None = None
    zero: float = 0.0


@dataclass(frozen=True)
class Hand:
    """Where a hand may be.

    Attributes:
        urdf: Of the robot.
        link: Of the hand.
        joints: Channel -> joint, for all that move the hand; channels that are positions.
        low: The box's lowest corner in the frame of the URDF's root [m].
        high: Its highest corner [m].
    """

    urdf: Path
    link: str
    joints: Mapping[str, JointAngle]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(
                f"The box of {self.link!r} needs low below high in each of x, y and z; got "
                f"{self.low} and {self.high}."
            )

    @classmethod
    def from_dict(cls, data: Any, where: str, folder: Path) -> Hand:
        """Parse the dict form; the URDF is looked for in a folder."""
        wanted = {"urdf": "a file", "link": "of the hand", "joints": "{channel: {joint: ...}}"}
        data = check_keys(data, where, wanted | {"low": "[m]", "high": "[m]"})
        entries = check_keys(data["joints"], f"{where}.joints", optional=list(data["joints"] or {}))
        joints = {name: _joint(e, f"{where}.joints.{name}") for name, e in entries.items()}
        low, high = (numbers(data[key], 3, f"{where}.{key}") for key in ("low", "high"))
        urdf = folder / text(data["urdf"], f"{where}.urdf")
        return cls(urdf, text(data["link"], f"{where}.link"), joints, low, high)

    def to_dict(self) -> dict[str, Any]:
        """Inverse of `from_dict`; the URDF's whole path."""
        joints = {
            name: {key: value for key, value in vars(joint).items() if value is not None}
            for name, joint in self.joints.items()
        }
        corners = {"low": list(self.low), "high": list(self.high)}
        return {"urdf": str(self.urdf), "link": self.link, "joints": joints} | corners


class HandGuard:
    """Keeps a hand in its box.

    Args:
        hand: Where it may be.
        layout: Of the commands.

    Raises:
        FileNotFoundError: There is no such URDF.
        ValueError: It cannot be read; channels, joints or link are not there; a joint that moves
            the hand is missing; or a channel is a velocity, or in a unit without a scale.
    """

    def __init__(self, hand: Hand, layout: ActionLayout) -> None:
        if unknown := [name for name in hand.joints if name not in layout.names]:
            raise ValueError(
                f"The box of {hand.link!r} names {unknown}, which layout {layout.name!r} does not "
                f"have: one of {list(layout.names)}."
            )
        _check_channels(hand, layout)
        joints = hand.joints.values()
        self.hand, self._solver = (
            hand,
            ForwardKinematics(hand.urdf, hand.link, [joint.joint for joint in joints]),
        )
        self.channels = [layout.index(name) for name in hand.joints]
        self._scale = np.array([1.0 if j.scale is None else j.scale for j in joints])
        self._zero = np.array([joint.zero for joint in joints])

    def position(self, values: np.ndarray) -> np.ndarray:
        """float64 [3], where the hand is [m]; NaN where a joint [D] is not known."""
        return self._solver.position(self._scale * (values[self.channels] - self._zero))

    def excess(self, values: np.ndarray) -> float:
        """How far outside the box the hand is [m]; 0 inside."""
        at = self.position(values)
        return float(np.linalg.norm(at - np.clip(at, self.hand.low, self.hand.high)))

    def rule(self, before: np.ndarray) -> Callable[[np.ndarray], bool]:
        """Says of values [D] whether they leave it no further outside than those before do."""
        allowed = self.excess(before)
        return lambda values: self.excess(values) <= allowed


def all_within(hands: Sequence[HandGuard], before: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values [D] that keep every hand inside, coming from those before."""
    rules = [hand.rule(before) for hand in hands]
    kept = values
    for hand, allows in zip(hands, rules, strict=True):
        kept = _furthest(before, kept, hand.channels, allows)
    if all(allows(kept) for allows in rules):
        return kept
    channels = sorted({channel for hand in hands for channel in hand.channels})
    return _furthest(before, values, channels, lambda v: all(allows(v) for allows in rules))


def _furthest(
    before: np.ndarray,
    values: np.ndarray,
    channels: Sequence[int],
    allows: Callable[[np.ndarray], bool],
) -> np.ndarray:
    """Values [D] of which these channels go from before, which is allowed, as far as they may."""
    if allows(values):
        return values
    known, share = values.copy(), 0.0
    known[channels] = before[channels]
    step = values[channels] - before[channels]
    for halving in range(1, HALVINGS + 1):
        further = values.copy()
        further[channels] = before[channels] + (share + 0.5**halving) * step
        if allows(further):
            known, share = further, share + 0.5**halving
    return known


def _check_channels(hand: Hand, layout: ActionLayout) -> None:
    rates, place = rate_channels(layout), f"The box of {hand.link!r}"
    if velocities := [name for name in hand.joints if rates[layout.index(name)]]:
        raise ValueError(
            f"{place} names {velocities}, which layout {layout.name!r} commands by velocity. Where "
            "joints are takes their positions: bound each one's `position` instead."
        )
    for name, joint in hand.joints.items():
        unit = layout.channels[layout.index(name)].unit
        if joint.scale is None and unit not in URDF_UNITS:
            raise ValueError(
                f"{place} needs the scale of {name!r}: how many rad (m where it slides) is one "
                f"{unit!r} of it?"
            )


def _joint(value: Any, where: str) -> JointAngle:
    data = check_keys(value, where, {"joint": "its name in the URDF"}, ["scale", "zero"])
    more = {key: number(data[key], f"{where}.{key}") for key in ("scale", "zero") if key in data}
    if more.get("scale") == 0:
        raise ValueError(f"{where}.scale must not be 0: the joint would never move.")
    return JointAngle(text(data["joint"], f"{where}.joint"), **more)
