"""Limits: what a robot may be told, as data; a YAML file or the dict form of it.

```yaml
on_violation: clip                 # or stop
channels:                          # by channel or by group of the layout
  arm/position: {velocity: 60, acceleration: 300}
  gripper: {low: 0, high: 1}
  wheel/velocity: {low: -1, high: 1, velocity: 4, position: [-2, 2], lag: 0.1}
rotations:                         # by body part, for its 6-D rotation
  right_arm: {velocity: 1.0, acceleration: 4.0}
workspace:                         # a box for the x, y and z of a hand
  - {channels: [right_x, right_y, right_z], low: [0.2, -0.4, 0.02], high: [0.7, 0.4, 0.6]}
hands:                             # the same where joints are commanded, see hands.py
  - {urdf: arm.urdf, link: gripper, joints: {shoulder: {joint: j1}}, low: [...], high: [...]}
```

`low` and `high` bound a channel's value in its unit, `velocity` its change per second and
`acceleration` the change of that per second. In a channel that is itself a rate (its unit ends with
/s) they bound the speed, its change, and the change of that; where it gets to is bound by
`position`, in the unit without /s. A workspace over channels in m is a bound on their values, over
channels in m/s on where the hand gets to. Both take a robot whose proprio holds the position in
the channel of its rate, as Meta-World's does: where it is measured to be, and the `lag` of that
behind the commands, say how fast it may still go (reach.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from rvq_action.data.strict import check_keys, number, numbers, texts
from rvq_action.data.yaml_file import read_yaml
from vla.deploy.safety.hands import Hand

OnViolation = Literal["clip", "stop"]

LARGEST = 1e12
"""Of any number here, whatever its unit: nothing physical is as large, and what is reckoned with it
stays a number. Speeds and accelerations are no smaller than one by it."""


@dataclass(frozen=True)
class ChannelLimits:
    """Of one channel; infinite: no limit.

    Attributes:
        low: Smallest value, in the channel's unit.
        high: Largest value.
        velocity: Largest change per second.
        acceleration: Largest change of that per second.
        position: Of a channel that is a rate: the lowest and the highest place that it may lead to,
            in its unit without /s.
        lag: With it: as a workspace's.
    """

    low: float = -math.inf
    high: float = math.inf
    velocity: float = math.inf
    acceleration: float = math.inf
    position: tuple[float, float] | None = None
    lag: float = 0.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low must lie below high, got {self.low} and {self.high}.")
        _check_size(self.low, self.high)
        _check_rates(self.velocity, self.acceleration)
        _check_lag(self.lag)
        low, high = self.position or (0.0, 1.0)
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"position is [lowest, highest], got {[low, high]}.")
        _check_size(low, high)
        if self.position is None and self.lag:
            raise ValueError("lag goes with `position`, which is not given.")

    def over(self, group: ChannelLimits) -> ChannelLimits:
        """These, and those of the channel's group where these are none.

        Raises:
            ValueError: They leave nothing in between.
        """
        return replace(group, **_given(self))


@dataclass(frozen=True)
class RotationLimits:
    """Of the rotation of a body part.

    Attributes:
        velocity: Largest angular speed [rad/s].
        acceleration: Largest change of the angular velocity [rad/s²].
    """

    velocity: float = math.inf
    acceleration: float = math.inf

    def __post_init__(self) -> None:
        _check_rates(self.velocity, self.acceleration)


@dataclass(frozen=True)
class Workspace:
    """A box that a hand stays in.

    Attributes:
        channels: Names of the channels of x, y and z, in m or m/s.
        low: Its lowest corner [m].
        high: Its highest corner [m].
        lag: Of a hand that is commanded by velocities: how far behind its commands it is measured
            to be, at most [s]. What that leaves to be gone counts as gone.
    """

    channels: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    lag: float = 0.0

    def __post_init__(self) -> None:
        sizes = {len(self.channels), len(self.low), len(self.high)}
        if sizes != {3} or not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(
                f"A workspace has three channels, and low below high in each of x, y and z; got "
                f"{self.channels}, {self.low}, {self.high}."
            )
        _check_size(*self.low, *self.high)
        _check_lag(self.lag)


@dataclass(frozen=True)
class Limits:
    """What a robot may be told.

    Attributes:
        channels: By name of a channel or a group; a channel's own win over its group's, key by key.
        rotations: By body part.
        workspace: Boxes.
        hands: Boxes for hands that joints move.
        on_violation: `clip` the command into its limits, or `stop` the robot.
    """

    channels: Mapping[str, ChannelLimits] = field(default_factory=dict)
    rotations: Mapping[str, RotationLimits] = field(default_factory=dict)
    workspace: tuple[Workspace, ...] = ()
    hands: tuple[Hand, ...] = ()
    on_violation: OnViolation = "clip"

    def __post_init__(self) -> None:
        if self.on_violation not in get_args(OnViolation):
            raise ValueError(
                f"on_violation is one of {get_args(OnViolation)}, got {self.on_violation!r}."
            )

    @classmethod
    def from_yaml(cls, path: str | Path) -> Limits:
        """Read a file of limits.

        Raises:
            FileNotFoundError: It is not there.
            ValueError: It is no YAML, or has an unknown key or a value that is none.
        """
        return cls.from_dict(read_yaml(path), str(path), Path(path).parent)

    @classmethod
    def from_dict(cls, data: Any, where: str = "limits", folder: Path = Path()) -> Limits:
        """Parse the dict form; `where` names it in errors, URDFs are looked for in a folder."""
        data = check_keys(data, where, optional=[f.name for f in fields(cls)])
        boxes, hands = data.get("workspace") or [], data.get("hands") or []
        return cls(
            _entries(ChannelLimits, data.get("channels") or {}, f"{where}.channels"),
            _entries(RotationLimits, data.get("rotations") or {}, f"{where}.rotations"),
            tuple(_box(box, f"{where}.workspace[{i}]") for i, box in enumerate(boxes)),
            tuple(Hand.from_dict(h, f"{where}.hands[{i}]", folder) for i, h in enumerate(hands)),
            data.get("on_violation", "clip"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Inverse of `from_dict`; limits that are none are left out."""
        return {
            "on_violation": self.on_violation,
            "channels": {name: _stated(entry) for name, entry in self.channels.items()},
            "rotations": {name: _stated(entry) for name, entry in self.rotations.items()},
            "hands": [hand.to_dict() for hand in self.hands],
            "workspace": [
                {
                    "channels": list(b.channels),
                    "low": list(b.low),
                    "high": list(b.high),
                    "lag": b.lag,
                }
                for b in self.workspace
            ],
        }


def _check_rates(velocity: float, acceleration: float) -> None:
    if not (velocity >= 1 / LARGEST and acceleration >= 1 / LARGEST):
        raise ValueError(
            f"velocity and acceleration must be positive, {1 / LARGEST:g} or more; got {velocity} "
            f"and {acceleration}. Leave out what has no limit."
        )
    _check_size(velocity, acceleration)


def _check_size(*limits: float) -> None:
    if found := [limit for limit in limits if LARGEST < abs(limit) < math.inf]:
        raise ValueError(f"{found[0]:g} is beyond {LARGEST:g}. Leave out what has no limit.")


def _check_lag(lag: float) -> None:
    if not 0 <= lag < math.inf:
        raise ValueError(f"lag is a time in seconds, 0 or more; got {lag}.")


def _entries(kind: type, data: Any, where: str) -> dict[str, Any]:
    known = [f.name for f in fields(kind)]
    found = {}
    for name, entry in check_keys(data, where, optional=list(data)).items():
        place = f"{where}.{name}"
        values = check_keys(entry, place, optional=known)
        try:
            found[name] = kind(**{k: _value(k, v, f"{place}.{k}") for k, v in values.items()})
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    return found


def _value(key: str, value: Any, where: str) -> float | tuple[float, ...]:
    return numbers(value, 2, where) if key == "position" else number(value, where)


def _box(data: Any, where: str) -> Workspace:
    wanted = {"channels": "[x, y, z]", "low": "[m]", "high": "[m]"}
    data = check_keys(data, where, wanted, ["lag"])
    low, high = (numbers(data[key], 3, f"{where}.{key}") for key in ("low", "high"))
    lag = number(data.get("lag", 0.0), f"{where}.lag")
    return Workspace(texts(data["channels"], f"{where}.channels"), low, high, lag)


def _given(entry: ChannelLimits | RotationLimits) -> dict[str, Any]:
    """By name, without those that are none."""
    values = {f.name: (getattr(entry, f.name), f.default) for f in fields(entry)}
    return {name: value for name, (value, default) in values.items() if value != default}


def _stated(entry: ChannelLimits | RotationLimits) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in _given(entry).items()}
