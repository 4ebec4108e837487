"""Rotations against scipy, in both directions, and their gradients where they are delicate."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from rvq_action import rotation

ORDERS = [
    "".join(order)
    for axes in ("xyz", "XYZ")
    for order in itertools.product(axes, repeat=3)
    if order[0] != order[1] != order[2]
]


def random_rotations(count: int = 200) -> Rotation:
    return Rotation.random(count, rng=np.random.default_rng(0))


def as_tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def test_rot6d_is_the_first_two_columns_and_inverts():
    matrices = as_tensor(random_rotations().as_matrix())
    rot6d = rotation.matrix_to_rot6d(matrices)
    assert torch.equal(rot6d[:, :3], matrices[:, :, 0])
    assert torch.equal(rot6d[:, 3:], matrices[:, :, 1])
    torch.testing.assert_close(rotation.rot6d_to_matrix(rot6d * 3.7), matrices)


@pytest.mark.parametrize("order", ["xyzw", "wxyz"])
def test_quaternions_agree_with_scipy(order):
    expected = random_rotations()
    quaternion = as_tensor(expected.as_quat(canonical=True, scalar_first=order == "wxyz"))
    matrices = as_tensor(expected.as_matrix())
    torch.testing.assert_close(rotation.quaternion_to_matrix(-2 * quaternion, order), matrices)
    torch.testing.assert_close(rotation.matrix_to_quaternion(matrices, order), quaternion)


@pytest.mark.parametrize("order", ORDERS)
def test_euler_angles_agree_with_scipy(order):
    expected = random_rotations()
    matrices = as_tensor(expected.as_matrix())
    angles = rotation.matrix_to_euler(matrices, order)
    torch.testing.assert_close(angles, as_tensor(expected.as_euler(order)))
    torch.testing.assert_close(rotation.euler_to_matrix(angles, order), matrices)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sign", [1, -1])
def test_euler_angles_at_gimbal_lock_give_the_same_rotation(order, sign):
    proper = order[0] == order[2]
    locked = (0.0 if sign > 0 else math.pi) if proper else sign * math.pi / 2
    matrix = rotation.euler_to_matrix(torch.tensor([0.4, locked, -1.1], dtype=torch.float64), order)
    angles = rotation.matrix_to_euler(matrix, order)
    torch.testing.assert_close(rotation.euler_to_matrix(angles, order), matrix)


def test_axis_angle_agrees_with_scipy_also_near_zero_and_pi():
    vectors = random_rotations().as_rotvec()
    directions = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    for angle in (0.0, 1e-9, 1e-5, 1e-3, 1.0, math.pi - 1e-6):
        rotvec = as_tensor(directions * angle)
        matrices = rotation.axis_angle_to_matrix(rotvec)
        expected = as_tensor(Rotation.from_rotvec(rotvec.numpy()).as_matrix())
        torch.testing.assert_close(matrices, expected)
        torch.testing.assert_close(
            rotation.matrix_to_axis_angle(matrices), rotvec, atol=1e-9, rtol=1e-7
        )


@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.5, 3.0, math.pi])
def test_geodesic_angle_is_the_angle_in_float32(angle):
    first = as_tensor(random_rotations(20).as_matrix()).float()
    turn = rotation.axis_angle_to_matrix(torch.tensor([0.0, angle, 0.0]))
    measured = rotation.geodesic_angle(first, first @ turn)
    torch.testing.assert_close(measured, torch.full((20,), angle), atol=2e-6, rtol=1e-5)


DEGENERATE = [
    [0.0] * 6,
    [1.0, 0, 0, 0, 0, 0],
    [0.0, 0, 0, 0, 2, 0],
    [1.0, 0, 0, 5, 0, 0],
    [0.3, -0.2, 0.1, -0.6, 0.4, -0.2],
    [1e-30, 0, 0, 0, 1e-30, 0],
    [1e18, 0, 0, 1e18, 1e12, 0],
]


@pytest.mark.parametrize("rot6d", DEGENERATE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_finite_6d_input_gives_a_rotation_with_a_finite_gradient(rot6d, dtype):
    rot6d = torch.tensor(rot6d, dtype=dtype, requires_grad=True)
    matrix = rotation.rot6d_to_matrix(rot6d)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3, dtype=dtype), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones((), dtype=dtype))
    matrix.sum().backward()
    assert rot6d.grad.isfinite().all()


def test_zeros_are_the_identity():
    torch.testing.assert_close(rotation.rot6d_to_matrix(torch.zeros(2, 6))[1], torch.eye(3))
    torch.testing.assert_close(rotation.quaternion_to_matrix(torch.zeros(2, 4))[1], torch.eye(3))


@pytest.mark.parametrize("angle", [0.0, math.pi / 2, math.pi])
def test_gradients_are_finite_at_special_angles(angle):
    matrix = rotation.euler_to_matrix(torch.tensor([0.0, angle, 0.0])).requires_grad_()
    for function in (
        rotation.matrix_to_quaternion,
        rotation.matrix_to_axis_angle,
        rotation.matrix_to_euler,
        lambda m: rotation.matrix_to_euler(m, "ZYZ"),
        lambda m: rotation.geodesic_angle(m, torch.eye(3)),
        lambda m: rotation.geodesic_angle(m, m),
    ):
        (gradient,) = torch.autograd.grad(function(matrix).sum(), matrix)
        assert gradient.isfinite().all()
    zero = torch.zeros(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(rotation.axis_angle_to_matrix(zero)[0, 1], zero)
    torch.testing.assert_close(gradient, torch.tensor([0.0, 0.0, -1.0]))


@pytest.mark.parametrize("order", ["xy", "xxy", "xYz", "abc", "xyzx"])
def test_an_impossible_euler_order_is_named(order):
    with pytest.raises(ValueError, match=f"'{order}' is no order of Euler angles"):
        rotation.euler_to_matrix(torch.zeros(3), order)


def test_wrong_widths_and_quaternion_orders_are_named():
    with pytest.raises(ValueError, match=r"6-D rotation has 6 numbers.*\(2, 5\)"):
        rotation.rot6d_to_matrix(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="'zyxw' is no order of quaternions"):
        rotation.quaternion_to_matrix(torch.zeros(4), "zyxw")
