"""ActionLayout: what the D channels of an action are, as data.

A layout names every channel and says its unit, the group it is reported in and how it becomes
relative to the proprio anchor (its *delta rule*). Nothing else in the library knows what a
channel means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

ROTATION_UNIT = "rot6d"
CHUNK_UNIT = "normalized chunk"
"""Of channels that are normalised already (`rvq_action.fast_interface.chunk_space`)."""


class DeltaRule(StrEnum):
    """How a channel becomes relative to the proprio anchor (see `rvq_action.relative`)."""

    SUBTRACT = "subtract"
    """x - anchor."""
    SO3 = "so3"
    """R_anchor^T R, for the six channels of a 6-D rotation."""
    SE3 = "se3"
    """R_anchor^T (p - p_anchor): a position in the anchor's own frame."""
    RAW = "raw"
    """Unchanged: velocities, grippers and whatever has no origin to subtract."""


@dataclass(frozen=True)
class Channel:
    """One channel of an action.

    Attributes:
        name: Unique within the layout.
        unit: `m`, `rad`, `m/s`, `rad/s`, `gripper` (0 closed, 1 open), `rot6d`, or free text.
        group: Channels reported together, as `part/quantity` (`left_arm/position`).
        delta: The channel's delta rule.
    """

    name: str
    unit: str
    group: str
    delta: DeltaRule

    @property
    def part(self) -> str:
        """The body part: the group's text before `/`."""
        return self.group.split("/")[0]


@dataclass(frozen=True)
class ActionLayout:
    """The ordered channels of an action vector."""

    name: str
    channels: tuple[Channel, ...]

    def __post_init__(self) -> None:
        if not self.channels:
            raise ValueError(f"Layout {self.name!r} has no channels.")
        duplicates = sorted({n for n in self.names if self.names.count(n) > 1})
        if duplicates:
            raise ValueError(f"Layout {self.name!r} names channels twice: {duplicates}.")
        for group, indices in self.groups.items():
            self._check_rotation(group, indices)
        for channel in self.channels:
            if channel.delta is DeltaRule.SE3 and self.rotation_of(channel.part) is None:
                raise ValueError(
                    f"Channel {channel.name!r} uses the se3 rule, but part {channel.part!r} has "
                    "no 6-D rotation. Add one, or use the subtract rule."
                )

    def _check_rotation(self, group: str, indices: list[int]) -> None:
        if not any(self.channels[i].unit == ROTATION_UNIT for i in indices):
            return
        consecutive = indices == list(range(indices[0], indices[0] + 6))
        if not consecutive or any(self.channels[i].unit != ROTATION_UNIT for i in indices):
            raise ValueError(
                f"Group {group!r} of layout {self.name!r} holds a rotation, which takes exactly "
                f"six consecutive {ROTATION_UNIT!r} channels; it has channels {indices}."
            )

    @property
    def width(self) -> int:
        """D, the number of channels."""
        return len(self.channels)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(channel.name for channel in self.channels)

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Channel indices per group, in channel order."""
        groups: dict[str, list[int]] = {}
        for index, channel in enumerate(self.channels):
            groups.setdefault(channel.group, []).append(index)
        return groups

    @cached_property
    def rotation_blocks(self) -> list[list[int]]:
        """The six indices of every 6-D rotation."""
        first_unit = {g: self.channels[ix[0]].unit for g, ix in self.groups.items()}
        return [ix for g, ix in self.groups.items() if first_unit[g] == ROTATION_UNIT]

    def rotation_of(self, part: str) -> list[int] | None:
        """The rotation block of a body part, or None where it has none."""
        blocks = [b for b in self.rotation_blocks if self.channels[b[0]].part == part]
        return blocks[0] if blocks else None

    @cached_property
    def origins(self) -> dict[int, list[int]]:
        """The anchor's channels that a relative channel is relative to; raw channels have none."""
        origins = {}
        for index, channel in enumerate(self.channels):
            if channel.delta is DeltaRule.SE3:
                origins[index] = [index, *(self.rotation_of(channel.part) or [])]
            elif channel.delta is not DeltaRule.RAW:
                origins[index] = [index]
        return origins

    @property
    def needs_anchor(self) -> bool:
        """Whether any channel is relative to the proprio anchor."""
        return bool(self.origins)

    def index(self, name: str) -> int:
        """Position of a channel.

        Raises:
            KeyError: The layout has no channel of that name.
        """
        if name not in self.names:
            raise KeyError(f"Layout {self.name!r} has no channel {name!r}; it has {self.names}.")
        return self.names.index(name)

    def to_dict(self) -> dict:
        channels = [
            {"name": c.name, "unit": c.unit, "group": c.group, "delta": c.delta.value}
            for c in self.channels
        ]
        return {"name": self.name, "channels": channels}

    @classmethod
    def from_dict(cls, data: dict) -> ActionLayout:
        channels = tuple(
            Channel(c["name"], c["unit"], c["group"], DeltaRule(c["delta"]))
            for c in data["channels"]
        )
        return cls(data["name"], channels)


def _channels(part: str, quantity: str, unit: str, rule: DeltaRule, names: Sequence[str]):
    return [Channel(name, unit, f"{part}/{quantity}", rule) for name in names]


def _arm(side: str) -> list[Channel]:
    part = f"{side}_arm"
    rotation = [f"{side}_{ROTATION_UNIT}_{i}" for i in range(6)]
    return [
        *_channels(part, "position", "m", DeltaRule.SUBTRACT, [f"{side}_{a}" for a in "xyz"]),
        *_channels(part, "rotation", ROTATION_UNIT, DeltaRule.SO3, rotation),
        *_channels(part, "gripper", "gripper", DeltaRule.RAW, [f"{side}_gripper"]),
    ]


WALL_26 = ActionLayout(
    "wall_26",
    (
        *_arm("left"),
        *_arm("right"),
        *_channels("base", "linear_velocity", "m/s", DeltaRule.RAW, ["base_vx", "base_vy"]),
        *_channels("base", "angular_velocity", "rad/s", DeltaRule.RAW, ["base_wz"]),
        *_channels("lift", "height", "m", DeltaRule.RAW, ["lift"]),
        *_channels("head", "angle", "rad", DeltaRule.RAW, ["head_yaw", "head_pitch"]),
    ),
)
"""Wall-OSS's 26 channels: two arms (position 3, 6-D rotation 6, gripper 1), base, lift, head."""


def joint_space(
    width: int,
    names: Sequence[str] | None = None,
    unit: str = "rad",
    delta: DeltaRule | str = DeltaRule.SUBTRACT,
    name: str | None = None,
) -> ActionLayout:
    """A layout of `width` joints in one group, all with the same unit and delta rule.

    Args:
        width: D.
        names: Channel names; `joint_0 ..` where omitted.
        unit: Unit of every channel.
        delta: Delta rule of every channel.
        name: Name of the layout; `joint_space_D` where omitted.
    """
    names = names if names is not None else [f"joint_{i}" for i in range(width)]
    if len(names) != width:
        raise ValueError(f"{width} joints need {width} names, got {len(names)}: {list(names)}.")
    channels = tuple(Channel(n, unit, "joints/position", DeltaRule(delta)) for n in names)
    return ActionLayout(name or f"joint_space_{width}", channels)
