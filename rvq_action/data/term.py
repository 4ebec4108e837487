"""Term: how one group of a layout's channels is read from one feature of a dataset."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rvq_action.data.conversions import RotationForm, rotation_form, unit_scale
from rvq_action.data.strict import check_keys, number, numbers, text
from rvq_action.layout import ROTATION_UNIT, ActionLayout

Names = Callable[[str], tuple[str, ...]]
"""From a feature to the names of its numbers."""


def _take(value: Any, where: str) -> tuple[str | int, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str | int) for v in value):
        raise ValueError(f"{where} must be a list of names or positions, got {value!r}.")
    return tuple(value)


def _scale(value: Any, where: str) -> tuple[float, ...]:
    factors = numbers(value if isinstance(value, list) else [value], None, where)
    if 0 in factors:
        raise ValueError(f"{where} must not be 0: nothing would be left of the values.")
    return factors


_PARSERS: dict[str, Callable[[Any, str], Any]] = {
    "feature": text,
    "take": _take,
    "unit": text,
    "scale": _scale,
    "rotation": text,
    "closed": number,
    "open": number,
}


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
        required = {"feature": "a feature of the dataset, such as action"}
        data = check_keys(data, where, required, [k for k in _PARSERS if k not in required])
        return cls(target, **{k: _PARSERS[k](v, f"{where}.{k}") for k, v in data.items()})

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
        ends = [value for value in (self.closed, self.open) if value is not None]
        if ends and (self.rotation is not None or len(set(ends)) != 2):
            raise ValueError(
                f"{self.target!r}: a gripper takes two different values, `closed` and `open`; "
                "other channels take none."
            )
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
        missing = [n for n in self.take if n not in known and n not in range(len(known))]
        if missing:
            raise ValueError(
                f"Feature {self.feature!r} has no number {missing}; it has {list(known)}. Correct "
                f"`take` of {self.target!r}."
            )
        return [n if isinstance(n, int) else known.index(n) for n in self.take]

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
        rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))[:, self.positions(names)]
        self._check_values(rows, names, layout)
        values = torch.from_numpy(rows) * self._factor(layout)
        if self._form is not None:
            return rotation_form(ROTATION_UNIT).from_matrix(self._form.to_matrix(values))
        closed, opened = self._gripper
        return (values - closed) / (opened - closed)

    def write(self, values: Tensor, layout: ActionLayout) -> Tensor:
        """Inverse of `read`: [N, channels] in the layout's units -> [N, taken numbers]."""
        if self._form is not None:
            values = self._form.from_matrix(rotation_form(ROTATION_UNIT).to_matrix(values))
        else:
            closed, opened = self._gripper
            values = values * (opened - closed) + closed
        return values / self._factor(layout)

    @property
    def _gripper(self) -> tuple[float, float]:
        """The source's values of closed and open."""
        return (
            0.0 if self.closed is None else self.closed,
            1.0 if self.open is None else self.open,
        )

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
        if self._form is not None and not self._form.is_angle and not rows.any(1).all():
            frame = int(rows.any(1).argmin())
            raise ValueError(
                f"frame {frame}, feature {self.feature!r}: the rotation of {self.target!r} is all "
                "zeros, which is none. Repair or remove the episode."
            )
        bad = np.argwhere(~np.isfinite(rows))
        if len(bad):
            frame, column = bad[0]
            name = names(self.feature)[self.positions(names)[column]]
            raise ValueError(
                f"frame {frame}, feature {self.feature!r}, channel {name!r} is "
                f"{rows[frame, column]} ({len(bad)} such values). Repair or remove the episode."
            )
