"""Conversions of a mapping, each with its exact inverse: units, rotations, grippers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rvq_action import rotation
from rvq_action.layout import ROTATION_UNIT

_LENGTHS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
_ANGLES = {"rad": 1.0, "deg": math.pi / 180}
_PER_SECOND = [{f"{unit}/s": v for unit, v in family.items()} for family in (_LENGTHS, _ANGLES)]
_FAMILIES = (_LENGTHS, _ANGLES, *_PER_SECOND)


class RotationForm(NamedTuple):
    """A way to write a rotation.

    Attributes:
        width: How many numbers it takes.
        is_angle: Whether these numbers are angles, so that a unit applies.
        to_matrix: [..., width] -> [..., 3, 3].
        from_matrix: Its inverse.
    """

    width: int
    is_angle: bool
    to_matrix: Callable[[Tensor], Tensor]
    from_matrix: Callable[[Tensor], Tensor]


def orthonormal(matrix: Tensor) -> Tensor:
    """The rotation with the matrix's first two columns, [..., 3, 3]."""
    return rotation.rot6d_to_matrix(rotation.matrix_to_rot6d(matrix))


_FORMS = {
    ROTATION_UNIT: RotationForm(6, False, rotation.rot6d_to_matrix, rotation.matrix_to_rot6d),
    "rot6d_rows": RotationForm(
        6,
        False,
        lambda r: rotation.rot6d_to_matrix(r).mT,
        lambda m: rotation.matrix_to_rot6d(m.mT),
    ),
    "matrix": RotationForm(
        9,
        False,
        lambda r: orthonormal(r.unflatten(-1, (3, 3))),
        lambda m: m.flatten(-2),
    ),
    "axis_angle": RotationForm(
        3, True, rotation.axis_angle_to_matrix, rotation.matrix_to_axis_angle
    ),
}


def rotation_form(name: str) -> RotationForm:
    """A rotation form by name.

    Args:
        name: `rot6d` (first two columns), `rot6d_rows` (first two rows), `matrix` (9, row by
            row), `axis_angle`, `quaternion_xyzw`, `quaternion_wxyz`, or `euler_` and an order of
            `rvq_action.rotation.euler_to_matrix` (`euler_xyz` = extrinsic roll, pitch, yaw).

    Raises:
        ValueError: There is no such form.
    """
    if name in _FORMS:
        return _FORMS[name]
    kind, _, order = name.partition("_")
    if kind == "quaternion" and order in ("xyzw", "wxyz"):
        return RotationForm(
            4,
            False,
            lambda q: rotation.quaternion_to_matrix(q, order),
            lambda m: rotation.matrix_to_quaternion(m, order),
        )
    if kind == "euler":
        rotation.euler_to_matrix(torch.zeros(3), order)
        return RotationForm(
            3,
            True,
            lambda angles: rotation.euler_to_matrix(angles, order),
            lambda m: rotation.matrix_to_euler(m, order),
        )
    known = [*_FORMS, "quaternion_xyzw", "quaternion_wxyz", "euler_xyz (or another order)"]
    raise ValueError(f"{name!r} is no rotation form. Use one of {known}.")


def unit_scale(source: str, target: str) -> float:
    """The factor from one unit to another.

    Raises:
        ValueError: The two do not measure the same thing.
    """
    if source == target:
        return 1.0
    for family in _FAMILIES:
        if source in family and target in family:
            return family[source] / family[target]
    raise ValueError(
        f"{source!r} cannot be converted to {target!r}. Known units are "
        f"{[list(family) for family in _FAMILIES]}; use `scale` for others."
    )
