"""Rotations: 6-D, matrix, quaternion, Euler angles, axis-angle. Pure functions on tensors.

The 6-D convention of the whole project: the first two *columns* of R, one after the other,
(r11, r21, r31, r12, r22, r32). The identity is (1, 0, 0, 0, 1, 0).

Every function takes any leading dimensions, keeps the dtype, and has finite gradients
everywhere, degenerate input included.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rvq_action.branching import may_look

AXES = "xyz"
_TINY = 1e-16
"""Squared length below which a vector has no direction."""
_PARALLEL = 1e-8
"""Squared sine below which two directions count as parallel."""
_CLEAR = 1e-3
"""Lengths and sines above this are far from both."""


def rot6d_to_matrix(rot6d: Tensor) -> Tensor:
    """6-D -> matrix by Gram-Schmidt (Zhou et al., arXiv 1812.07035).

    Columns without a direction (zero, or parallel to one another) are replaced by coordinate
    axes, so the result is a rotation for any finite input; all zeros give the identity.

    Args:
        rot6d: [..., 6], of any scale.

    Returns:
        [..., 3, 3] rotation matrices.
    """
    _check_last(rot6d, 6, "A 6-D rotation")
    first, second = _clear_axes(rot6d) or _any_axes(rot6d[..., :3], rot6d[..., 3:])
    return torch.stack((first, second, torch.linalg.cross(first, second)), dim=-1)


def straighten(rot6d: Tensor) -> tuple[Tensor, Tensor]:
    """6-D near a rotation -> the rotation's own 6-D, in few steps.

    Args:
        rot6d: [..., 6].

    Returns:
        [..., 6], not finite where a column has no direction of its own; and [..., 1], the smallest
        of the lengths and the sine that were divided by, near 0 there.
    """
    first, second = rot6d[..., :3], rot6d[..., 3:]
    lengths = first.norm(dim=-1, keepdim=True), second.norm(dim=-1, keepdim=True)
    first, second = first / lengths[0], second / lengths[1]
    second = _reject(_reject(second, first), first)
    across = second.norm(dim=-1, keepdim=True)
    smallest = torch.minimum(torch.minimum(*lengths), across)
    return torch.cat((first, second / across), dim=-1), smallest


def _clear_axes(rot6d: Tensor) -> tuple[Tensor, Tensor] | None:
    """What `_any_axes` returns, in a third of the time, or None where a direction is missing."""
    if not may_look(rot6d) or not rot6d.numel():
        return None
    straight, smallest = straighten(rot6d)
    return (straight[..., :3], straight[..., 3:]) if smallest.amin() > _CLEAR else None


def _any_axes(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two orthonormal axes near any two columns [..., 3]."""
    first = _unit(first, first.new_tensor((1.0, 0.0, 0.0)))
    spare = _axis_like(first, first.detach().abs().argmin(-1))
    second = _unit(second, spare)
    parallel = _reject(second, first).square().sum(-1, keepdim=True) <= _PARALLEL
    second = _reject(torch.where(parallel, spare, second), first)
    return first, _unit(_reject(second, first), spare)


def matrix_to_rot6d(matrix: Tensor) -> Tensor:
    """Matrix [..., 3, 3] -> 6-D [..., 6]; inverse of `rot6d_to_matrix`."""
    return torch.cat((matrix[..., :, 0], matrix[..., :, 1]), dim=-1)


def quaternion_to_matrix(quaternion: Tensor, order: str = "xyzw") -> Tensor:
    """Quaternion -> matrix.

    Args:
        quaternion: [..., 4] of any length; zeros count as the identity.
        order: `xyzw` (scipy, ROS) or `wxyz` (MuJoCo).

    Returns:
        [..., 3, 3] rotation matrices.
    """
    _check_last(quaternion, 4, "A quaternion")
    q = quaternion.roll(-1, -1) if _is_scalar_first(order) else quaternion
    identity = torch.zeros_like(q)
    identity[..., 3] = 1
    x, y, z, w = _unit(q, identity).unbind(-1)
    rows = (
        *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrix_to_quaternion(matrix: Tensor, order: str = "xyzw") -> Tensor:
    """Matrix [..., 3, 3] -> unit quaternion [..., 4] with w >= 0.

    4 q q^T is linear in the matrix; its row with the largest diagonal entry is a multiple of q
    that is never short.
    """
    m = matrix
    (m00, m01, m02), (m10, m11, m12), (m20, m21, m22) = (r.unbind(-1) for r in m.unbind(-2))
    outer = (
        *(1 + m00 - m11 - m22, m10 + m01, m02 + m20, m21 - m12),
        *(m10 + m01, 1 - m00 + m11 - m22, m21 + m12, m02 - m20),
        *(m02 + m20, m21 + m12, 1 - m00 - m11 + m22, m10 - m01),
        *(m21 - m12, m02 - m20, m10 - m01, 1 + m00 + m11 + m22),
    )
    rows = torch.stack(outer, dim=-1).unflatten(-1, (4, 4))
    longest = rows.detach().diagonal(dim1=-2, dim2=-1).argmax(-1)
    q = rows.gather(-2, longest[..., None, None].expand_as(rows[..., :1, :])).squeeze(-2)
    q = q / q.norm(dim=-1, keepdim=True)
    q = torch.where(q[..., 3:] < 0, -q, q)
    return q.roll(1, -1) if _is_scalar_first(order) else q


def euler_to_matrix(angles: Tensor, order: str = "xyz") -> Tensor:
    """Euler angles -> matrix, with scipy's meaning of the order.

    Args:
        angles: [..., 3] in rad.
        order: Three axes; lower case = extrinsic (`xyz`: Rz Ry Rx, roll pitch yaw), upper case =
            intrinsic (`XYZ`: Rx Ry Rz).

    Returns:
        [..., 3, 3] rotation matrices.
    """
    _check_last(angles, 3, "A triple of Euler angles")
    axes = _euler_axes(order)
    first, second, third = (
        _about_axis(axis, angle) for axis, angle in zip(axes, angles.unbind(-1), strict=True)
    )
    return first @ second @ third if order.isupper() else third @ second @ first


def matrix_to_euler(matrix: Tensor, order: str = "xyz") -> Tensor:
    """Matrix [..., 3, 3] -> Euler angles [..., 3] in rad; orders as in `euler_to_matrix`.

    The middle angle lies in [-pi/2, pi/2] ([0, pi] for orders like `zyz`), the others in
    [-pi, pi]. At gimbal lock the last intrinsic angle (the first extrinsic one) is 0.
    """
    axes = _euler_axes(order)
    i, j, last = axes if order.isupper() else axes[::-1]
    k = 3 - i - j
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    m = [row.unbind(-1) for row in matrix.unbind(-2)]
    away = _norm(torch.stack((m[i][j], m[i][i] if last != i else m[i][k]), dim=-1))
    locked = away < 1e-6
    if last != i:
        outer = _atan2(-sign * m[j][k], m[k][k], locked)
        middle = _atan2(sign * m[i][k], away)
        inner = _atan2(-sign * m[i][j], m[i][i], locked)
    else:
        outer = _atan2(m[j][i], -sign * m[k][i], locked)
        middle = _atan2(away, m[i][i])
        inner = _atan2(m[i][j], sign * m[i][k], locked)
    outer = torch.where(locked, _atan2(sign * m[k][j], m[j][j], ~locked), outer)
    angles = (outer, middle, inner)
    return torch.stack(angles if order.isupper() else angles[::-1], dim=-1)


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rotation vector (unit axis times angle in rad) [..., 3] -> matrix [..., 3, 3]."""
    _check_last(axis_angle, 3, "A rotation vector")
    squared = axis_angle.square().sum(-1, keepdim=True)
    small = squared < 1e-8
    half = torch.where(small, torch.ones_like(squared), squared).sqrt() / 2
    scale = torch.where(small, 0.5 - squared / 48, half.sin() / (2 * half))
    w = torch.where(small, 1 - squared / 8, half.cos())
    return quaternion_to_matrix(torch.cat((scale * axis_angle, w), dim=-1))


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Matrix [..., 3, 3] -> rotation vector [..., 3] in rad, of length at most pi."""
    q = matrix_to_quaternion(matrix)
    vector, w = q[..., :3], q[..., 3:]
    sine = _norm(vector).unsqueeze(-1)
    small = sine < 1e-4
    safe = torch.where(small, torch.ones_like(sine), sine)
    scale = torch.where(small, 2 + sine.square() / 3, 2 * torch.atan2(safe, w) / safe)
    return scale * vector


def geodesic_angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle in rad [...] between rotations [..., 3, 3], accurate near 0 and near pi."""
    relative = first.transpose(-1, -2) @ second
    skew = relative - relative.transpose(-1, -2)
    sine = _norm(torch.stack((skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]), dim=-1)) / 2
    cosine = (relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return _atan2(sine, cosine)


def _unit(vector: Tensor, fallback: Tensor) -> Tensor:
    has_direction = vector.square().sum(-1, keepdim=True) > _TINY
    vector = torch.where(has_direction, vector, fallback)
    return vector / vector.norm(dim=-1, keepdim=True)


def _reject(vector: Tensor, axis: Tensor) -> Tensor:
    """The part of `vector` at a right angle to the unit vector `axis`."""
    return vector - (vector * axis).sum(-1, keepdim=True) * axis


def _axis_like(vector: Tensor, index: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(index, 3).to(vector)


def _norm(vector: Tensor) -> Tensor:
    """Length over the last dimension, with gradient 0 at the origin."""
    squared = vector.square().sum(-1)
    zero = squared == 0
    return torch.where(zero, squared, torch.where(zero, torch.ones_like(squared), squared).sqrt())


def _atan2(y: Tensor, x: Tensor, undefined: Tensor | None = None) -> Tensor:
    """atan2 that is 0, with gradient 0, where `undefined` or where both arguments are 0."""
    zero = (y == 0) & (x == 0)
    zero = zero if undefined is None else zero | undefined
    y, x = torch.where(zero, torch.zeros_like(y), y), torch.where(zero, torch.ones_like(x), x)
    return torch.atan2(y, x)


def _about_axis(axis: int, angle: Tensor) -> Tensor:
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rows = (
        (one, zero, zero, zero, cos, -sin, zero, sin, cos),
        (cos, zero, sin, zero, one, zero, -sin, zero, cos),
        (cos, -sin, zero, sin, cos, zero, zero, zero, one),
    )
    return torch.stack(rows[axis], dim=-1).unflatten(-1, (3, 3))


def _euler_axes(order: str) -> list[int]:
    axes = [AXES.find(letter) for letter in order.lower()]
    one_case = order.isupper() or order.islower()
    if len(axes) != 3 or -1 in axes or not one_case or axes[1] in (axes[0], axes[2]):
        raise ValueError(
            f"{order!r} is no order of Euler angles. Give three axes, neighbours different: "
            "lower case for extrinsic ('xyz' = roll pitch yaw), upper case for intrinsic ('ZYX')."
        )
    return axes


def _is_scalar_first(order: str) -> bool:
    if order not in ("xyzw", "wxyz"):
        raise ValueError(f"{order!r} is no order of quaternions. Use 'xyzw' or 'wxyz'.")
    return order == "wxyz"


def _check_last(tensor: Tensor, size: int, what: str) -> None:
    if tensor.shape[-1] != size:
        raise ValueError(f"{what} has {size} numbers, got a tensor of {tuple(tensor.shape)}.")
