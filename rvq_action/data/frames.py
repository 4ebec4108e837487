"""Fixed changes of coordinate frame: where the robot's base stands, and what its tool adds.

A source pose (R, p) becomes R' = R_base R R_tool and p' = R_base (p + R p_tool) + p_base: `base`
is the source's base frame seen from the layout's, `tool` the layout's tool frame seen from the
source's (a flange, say).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rvq_action.data.conversions import rotation_form, unit_scale
from rvq_action.data.strict import check_keys, numbers
from rvq_action.layout import ActionLayout
from rvq_action.rotation import matrix_to_rot6d, rot6d_to_matrix


@dataclass(frozen=True)
class Pose:
    """A fixed pose.

    Attributes:
        translation: x, y, z in m.
        rotation: How the rotation is written, see `rotation_form`.
        values: Its numbers.
        unit: `rad` or `deg`, where these are angles.
    """

    translation: tuple[float, ...] = (0.0, 0.0, 0.0)
    rotation: str = "euler_xyz"
    values: tuple[float, ...] = (0.0, 0.0, 0.0)
    unit: str = "rad"

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Pose:
        """Parse `{translation: [x, y, z], rotation: {euler_xyz: [...], unit: deg}}`."""
        data = check_keys(data, where, optional=["translation", "rotation"])
        translation = numbers(data.get("translation", cls.translation), 3, f"{where}.translation")
        turn = dict(data.get("rotation", {cls.rotation: cls.values}))
        unit = turn.pop("unit", "rad")
        if len(turn) != 1:
            raise ValueError(f"{where}.rotation must name one rotation form, got {list(turn)}.")
        ((form, values),) = turn.items()
        values = numbers(values, rotation_form(form).width, f"{where}.rotation")
        unit_scale(unit, "rad")
        return cls(translation, form, values, unit)

    def to_dict(self) -> dict[str, Any]:
        """Inverse of `from_dict`."""
        rotation = {self.rotation: list(self.values), "unit": self.unit}
        return {"translation": list(self.translation), "rotation": rotation}

    @cached_property
    def matrix(self) -> Tensor:
        """[3, 3] float64."""
        form = rotation_form(self.rotation)
        values = torch.tensor(self.values, dtype=torch.float64)
        return form.to_matrix(values * unit_scale(self.unit, "rad") if form.is_angle else values)

    @cached_property
    def vector(self) -> Tensor:
        """[3] float64, m."""
        return torch.tensor(self.translation, dtype=torch.float64)


@dataclass(frozen=True)
class FrameChange:
    """The frames of one body part of a layout.

    Attributes:
        part: The part, as in the layout's groups (`right_arm`).
        base: The source's base frame seen from the layout's.
        tool: The layout's tool frame seen from the source's.
    """

    part: str
    base: Pose = Pose()
    tool: Pose = Pose()

    @classmethod
    def from_dict(cls, part: str, data: Any, where: str) -> FrameChange:
        """Parse `{base: {...}, tool: {...}}`."""
        data = check_keys(data, where, optional=["base", "tool"])
        poses = {name: Pose.from_dict(pose, f"{where}.{name}") for name, pose in data.items()}
        return cls(part, **poses)

    def to_dict(self) -> dict[str, Any]:
        """Inverse of `from_dict`."""
        return {"base": self.base.to_dict(), "tool": self.tool.to_dict()}

    def blocks(self, layout: ActionLayout) -> tuple[list[int], list[int]]:
        """Channels of the part's position and rotation.

        Raises:
            ValueError: The part has no pose.
        """
        position = layout.groups.get(f"{self.part}/position", [])
        rotation = layout.rotation_of(self.part)
        if len(position) != 3 or rotation is None:
            raise ValueError(
                f"Layout {layout.name!r} has no pose (three positions and a 6-D rotation) of part "
                f"{self.part!r}, so its frames cannot be changed."
            )
        return position, rotation

    def apply(self, values: Tensor, layout: ActionLayout) -> Tensor:
        """From the source's frames to the layout's; [N, D] float64 -> [N, D]."""
        position, rotation = self.blocks(layout)
        turn = rot6d_to_matrix(values[:, rotation])
        point = values[:, position] + turn @ self.tool.vector
        changed = values.clone()
        changed[:, position] = point @ self.base.matrix.mT + self.base.vector
        changed[:, rotation] = matrix_to_rot6d(self.base.matrix @ turn @ self.tool.matrix)
        return changed

    def invert(self, values: Tensor, layout: ActionLayout) -> Tensor:
        """From the layout's frames back to the source's; inverse of `apply`."""
        position, rotation = self.blocks(layout)
        turn = self.base.matrix.mT @ rot6d_to_matrix(values[:, rotation]) @ self.tool.matrix.mT
        point = (values[:, position] - self.base.vector) @ self.base.matrix
        changed = values.clone()
        changed[:, position] = point - turn @ self.tool.vector
        changed[:, rotation] = matrix_to_rot6d(turn)
        return changed
