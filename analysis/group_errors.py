"""Unclipped error in physical units, per channel group: mm, degrees, rad, gripper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from analysis.evalset import EvalSet
from analysis.style import GRID, number_ticks
from rvq_action.layout import ROTATION_UNIT
from rvq_action.rotation import geodesic_angle, rot6d_to_matrix

SHOWN_AS = {"m": ("mm", 1000.0), "m/s": ("mm/s", 1000.0)}


@dataclass(frozen=True)
class Group:
    """Channels that share a group and a unit.

    Attributes:
        name: Name of the group.
        unit: Unit that its error is shown in.
        factor: From the channels' unit to that one.
        columns: Positions among the scored channels.
        rotation: Whether they are one 6-D rotation, whose error is the geodesic angle.
    """

    name: str
    unit: str
    factor: float
    columns: tuple[int, ...]
    rotation: bool

    @property
    def metric(self) -> str:
        """Its name in metrics.json."""
        return f"error_{self.name}_{self.unit}"


def groups_of(data: EvalSet) -> list[Group]:
    """The groups of the scored channels, one per unit."""
    members: dict[tuple[str, str], list[int]] = {}
    for column, channel in enumerate(data.channels):
        spec = data.layout.channels[channel]
        members.setdefault((spec.group, spec.unit), []).append(column)
    groups = []
    for (name, unit), columns in members.items():
        rotation = unit == ROTATION_UNIT and len(columns) == 6
        shown, factor = ("deg", 1.0) if rotation else SHOWN_AS.get(unit, (unit, 1.0))
        groups.append(Group(name, shown, factor, tuple(columns), rotation))
    return groups


def compute(group: Group, decoded: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """[N] mean error of each window.

    Args:
        group: The channels.
        decoded: [N, T, C] relative model space, physical units.
        recorded: [N, T, C] the same of the recording, not clipped.
    """
    a, b = decoded[..., list(group.columns)], recorded[..., list(group.columns)]
    if not group.rotation:
        return np.abs(a - b).mean(axis=(1, 2)) * group.factor
    first, second = (rot6d_to_matrix(torch.from_numpy(x)) for x in (a, b))
    return np.degrees(geodesic_angle(first, second).numpy()).mean(axis=1)


@dataclass(frozen=True)
class GroupCurve:
    """A tokenizer's error in one group over bits.

    Attributes:
        name: Name of the tokenizer.
        bits: [P] bits per chunk.
        error: [P] mean error.
    """

    name: str
    bits: np.ndarray
    error: np.ndarray


def plot(curves: list[tuple[GroupCurve, str]], group: Group, ax) -> None:
    """Error over bits in one group, each curve with its colour."""
    for curve, colour in curves:
        style = "o-" if len(curve.bits) < 12 else "-"
        ax.loglog(curve.bits, curve.error, style, color=colour, label=curve.name, markersize=3.5)
    ax.set(title=group.name, xlabel="bits per chunk", ylabel=f"mean error ({group.unit})")
    number_ticks(ax.xaxis)
    number_ticks(ax.yaxis)
    ax.grid(color=GRID)
