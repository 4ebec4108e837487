"""Measures on known answers."""

from __future__ import annotations

import math

import pytest
import torch

from rvq_action import WALL_26, joint_space
from rvq_action.metrics import (
    code_usage,
    masked_mean,
    masked_mean_per_chunk,
    perplexity,
    physical_errors,
    utilisation,
)
from rvq_action.rotation import axis_angle_to_matrix, matrix_to_rot6d


def test_only_real_entries_count():
    values = torch.tensor([[1.0, float("nan")], [3.0, float("inf")]])
    mask = torch.tensor([True, False])
    assert masked_mean(values, mask) == 2.0
    assert masked_mean(values, torch.tensor(False)) == 0.0
    chunks = torch.stack([values, values + 1])
    assert masked_mean_per_chunk(chunks, mask.expand_as(chunks)).tolist() == [2.0, 3.0]


def test_gradients_pass_only_where_real():
    values = torch.ones(4, requires_grad=True)
    masked_mean(values, torch.tensor([True, True, False, True])).backward()
    assert values.grad.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])


def test_physical_errors_by_group():
    target = torch.zeros(2, 5, 26)
    block = [WALL_26.index(f"left_rot6d_{i}") for i in range(6)]
    target[..., block] = torch.tensor([1.0, 0, 0, 0, 1, 0])
    predicted = target.clone()
    predicted[..., 0] = 0.3
    predicted[..., block] = matrix_to_rot6d(axis_angle_to_matrix(torch.tensor([0.0, 0.2, 0.0])))
    mask = torch.zeros_like(target, dtype=torch.bool)
    mask[..., :10] = True
    errors = physical_errors(predicted, target, mask, WALL_26)
    assert set(errors) == {"left_arm/position", "left_arm/rotation", "left_arm/gripper"}
    assert errors["left_arm/position"] == pytest.approx(0.1)
    assert errors["left_arm/rotation"] == pytest.approx(0.2, abs=1e-5)
    assert errors["left_arm/gripper"] == 0


def test_nothing_real_has_no_error():
    x = torch.zeros(1, 2, 3)
    assert physical_errors(x, x, torch.zeros_like(x, dtype=torch.bool), joint_space(3)) == {}


def test_usage_of_codes():
    codes = torch.tensor([[[0, 1]], [[0, -1]], [[2, 1]], [[0, 3]]])
    counts = code_usage(codes, 4)
    assert counts.tolist() == [[[3, 0, 1, 0], [0, 2, 0, 1]]]
    assert utilisation(counts).tolist() == [[0.5, 0.5]]
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert perplexity(counts)[0, 0] == pytest.approx(math.exp(entropy))
    assert perplexity(torch.full((4,), 5.0)) == pytest.approx(4.0)
    assert perplexity(torch.zeros(4)) == 1.0
