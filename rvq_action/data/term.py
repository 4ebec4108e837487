"""Term: how one group of a layout's channels is read from one feature of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rvq_action.data.conversions import RotationForm, rotation_form, unit_scale
from rvq_action.data.strict import check_keys, numbers
from rvq_action.layout import ROTATION_UNIT, ActionLayout

Names = Callable[[str], tuple[str, ...]]
"""From a feature to the names of its numbers."""


@dataclass(frozen=True)
class Term:
    """Reads one group (or one channel) of a layout.

    Attributes:
        target: A group of the layout, or the name of one channel.
        feature: The dataset's feature.
        take: The feature's numbers to use, by name or position, in the layout's order; all of
            them where None.
        unit: Their unit where it differs from the layout's (`mm`, `deg` ...); of angles in a
            rotation `rad` where None.
        scale: One factor, or one per number, for what no unit says (a sign, a range).
        rotation: How a rotation is written, see `rotation_form`.
        closed: The source's value of a closed gripper, which becomes 0; together with `open`.
        open: The source's value of an open gripper, which becomes 1.
    """

    target: str
    feature: str
    take: tuple[str | int, ...] | None = None
    unit: str | None = None
    scale: tuple[float, ...] = (1.0,)
    rotation: str | None = None
    closed: float | None = None
    open: float | None = None

    @classmethod
    def from_dict(cls, target: str, data: Any, where: str) -> Term:
        """Parse `{feature: ..., take: ..., ...}`; unknown keys are errors."""
        optional = [f.name for f in fields(cls) if f.name not in ("target", "feature")]
        data = dict(check_keys(data, where, ["feature"], optional))
        for key in ("feature", "unit", "rotation"):
            if not isinstance(data.get(key, ""), str):
                raise ValueError(f"{where}.{key} must be a text, got {data[key]!r}.")
        if not isinstance(data.get("take", []), list):
            raise ValueError(f"{where}.take must be a list, got {data['take']!r}.")
        for key in ("scale", "closed", "open"):
            if key in data:
                value = data[key] if isinstance(data[key], list) else [data[key]]
                data[key] = numbers(value, None if key == "scale" else 1, f"{where}.{key}")
        ends = {key: data[key][0] for key in ("closed", "open") if key in data}
        take = {"take": tuple(data["take"])} if "take" in data else {}
        return cls(target, **{**data, **take, **ends})

    def to_dict(self) -> dict[str, Any]:
        """Inverse of `from_dict`, without the keys left at their defaults."""
        defaults = {f.name: f.default for f in fields(self)}
        stated = {k: v for k, v in asdict(self).items() if k != "target" and v != defaults[k]}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in stated.items()}

    def channels(self, layout: ActionLayout) -> list[int]:
        """The layout's channels that this term fills."""
        if self.target in layout.groups:
            return layout.groups[self.target]
        if self.target in layout.names:
            return [layout.index(self.target)]
        raise ValueError(
            f"Layout {layout.name!r} has neither group nor channel {self.target!r}. Its groups "
            f"are {list(layout.groups)}."
        )

    def check(self, layout: ActionLayout) -> None:
        """Refuse a term that cannot fill its channels.

        Raises:
            ValueError: Names the term and the fix.
        """
        units = self._units(layout)
        if (ROTATION_UNIT in units) != (self.rotation is not None):
            raise ValueError(
                f"{self.target!r} holds {units}: `rotation` must be given for a 6-D "
                "rotation (rot6d, euler_xyz, quaternion_xyzw ...) and for nothing else."
            )
        gripper = [self.closed, self.open]
        if gripper != [None, None] and (None in gripper or self.closed == self.open):
            raise ValueError(f"{self.target!r}: give two different values, `closed` and `open`.")
        if self.rotation is not None:
            rotation_form(self.rotation)
        self._factor(layout)

    def positions(self, names: Names) -> list[int]:
        """Where the taken numbers stand in the feature's rows.

        Raises:
            ValueError: The feature has no such number.
        """
        known = names(self.feature)
        if self.take is None:
            return list(range(len(known)))
        found = [known.index(n) if n in known else n for n in self.take]
        missing = [n for n in found if not isinstance(n, int) or not 0 <= n < len(known)]
        if missing:
            raise ValueError(
                f"Feature {self.feature!r} has no number {missing}; it has {list(known)}. Correct "
                f"`take` of {self.target!r}."
            )
        return found

    def read(self, columns: Mapping[str, np.ndarray], names: Names, layout: ActionLayout) -> Tensor:
        """The group's channels, in the layout's units.

        Args:
            columns: Arrays [N, W] (or [N]) by feature.
            names: Names of a feature's numbers.
            layout: The layout.

        Returns:
            [N, channels] float64.

        Raises:
            ValueError: A value is NaN or infinite, or the number of values is wrong.
        """
        rows = np.asarray(columns[self.feature], dtype=np.float64)
        rows = rows.reshape(len(rows), -1)[:, self.positions(names)]
        self._check_values(rows, names, layout)
        values = torch.from_numpy(rows) * self._factor(layout)
        if self._form is not None:
            return rotation_form(ROTATION_UNIT).from_matrix(self._form.to_matrix(values))
        return values if self.closed is None else (values - self.closed) / (self.open - self.closed)

    def write(self, values: Tensor, layout: ActionLayout) -> Tensor:
        """Inverse of `read`: [N, channels] in the layout's units -> [N, taken numbers]."""
        if self._form is not None:
            values = self._form.from_matrix(rotation_form(ROTATION_UNIT).to_matrix(values))
        elif self.closed is not None:
            values = values * (self.open - self.closed) + self.closed
        return values / self._factor(layout)

    @property
    def _form(self) -> RotationForm | None:
        return None if self.rotation is None else rotation_form(self.rotation)

    def _factor(self, layout: ActionLayout) -> Tensor:
        factor = torch.tensor(self.scale, dtype=torch.float64)
        if self.unit is None:
            return factor
        if self._form is not None and not self._form.is_angle:
            raise ValueError(f"{self.target!r}: a {self.rotation} has no unit. Remove `unit`.")
        targets = ["rad"] if self._form is not None else self._units(layout)
        if len(targets) > 1:
            raise ValueError(f"{self.target!r} mixes {targets}; give one term per channel.")
        return factor * unit_scale(self.unit, targets[0])

    def _units(self, layout: ActionLayout) -> list[str]:
        return sorted({layout.channels[i].unit for i in self.channels(layout)})

    def _check_values(self, rows: np.ndarray, names: Names, layout: ActionLayout) -> None:
        expected = self._form.width if self._form else len(self.channels(layout))
        if rows.shape[1] != expected or len(self.scale) not in (1, expected):
            raise ValueError(
                f"{self.target!r} needs {expected} numbers, but `take` of feature "
                f"{self.feature!r} gives {rows.shape[1]} and `scale` {len(self.scale)}."
            )
        bad = np.argwhere(~np.isfinite(rows))
        if len(bad):
            frame, column = bad[0]
            name = names(self.feature)[self.positions(names)[column]]
            raise ValueError(
                f"frame {frame}, feature {self.feature!r}, channel {name!r} is "
                f"{rows[frame, column]} ({len(bad)} such values). Repair or remove the episode."
            )
