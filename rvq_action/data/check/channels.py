"""Channels that carry nothing, are cut off, or jump: constant, saturated, wrapping."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from rvq_action.data.check.finding import Finding, counted, failed, listed, passed, warned
from rvq_action.data.check.recording import Recording
from rvq_action.statistics import is_constant

SATURATED_SHARE = 0.02
"""Share of frames at exactly the same extreme from which a channel counts as saturated."""
FEW_VALUES = 10
"""A channel with no more distinct values is a switch: resting at its ends is its purpose."""
CIRCLES = ((2 * np.pi, 0.2, 0.8), (360.0, 10.0, 45.0))
"""A full turn in radians and degrees: its size, the slack of the range, the slack of the jump."""


def check_channels(
    recording: Recording, rotations: Collection[str] = (), numbers: Collection[str] = ()
) -> list[Finding]:
    """All channel checks, one row each over all action and state features."""
    values = {f: recording.episodes_of(f) for f in recording.signal_features}
    return [
        check_constant(recording.names, values),
        check_saturated(recording.names, values),
        check_wraps(recording.names, values, rotations, numbers),
    ]


def check_constant(names: dict, values: dict[str, list[np.ndarray]]) -> Finding:
    """Channels with one value only."""
    constant = []
    for feature, episodes in values.items():
        rows = np.concatenate(episodes)
        flat = is_constant(rows.min(0), rows.max(0))
        constant += [
            f"{feature} {names[feature][c]} = {rows[0, c]:.4g}" for c in np.flatnonzero(flat)
        ]
    if constant:
        return warned(
            "channels: constant",
            listed(constant),
            "Mask them in the mapping: a channel that never moves only costs tokens.",
        )
    return passed("channels: constant", "every channel moves")


def check_saturated(names: dict, values: dict[str, list[np.ndarray]]) -> Finding:
    """Channels that pile up at their largest or smallest value."""
    saturated = []
    for feature, episodes in values.items():
        rows = np.concatenate(episodes)
        for channel, name in enumerate(names[feature]):
            saturated += _pile_up(f"{feature} {name}", rows[:, channel])
    if saturated:
        return warned(
            "channels: saturated",
            listed(saturated),
            "A joint at its stop, or a value cut off while recording. If it is cut off, widen "
            "the recorded range (calibration) and record again.",
        )
    return passed("channels: saturated", "no channel piles up at an extreme")


def check_wraps(
    names: dict,
    values: dict[str, list[np.ndarray]],
    rotations: Collection[str] = (),
    numbers: Collection[str] = (),
) -> Finding:
    """Angles that jump by a full turn between two frames.

    Args:
        names: Channel names per feature.
        values: [N, D] per feature and episode.
        rotations: Columns (`feature channel`) that a mapping reads as rotations.
        numbers: Columns that it reads as plain numbers.
    """
    name, wrapping = "channels: wrap", {}
    for feature, episodes in values.items():
        for channel, label in enumerate(names[feature]):
            jumps = [count_wraps(rows[:, channel]) for rows in episodes]
            if total := sum(jumps):
                where = counted(sum(jump > 0 for jump in jumps), "episode")
                wrapping[f"{feature} {label}"] = f"{counted(total, 'time')} in {where}"
    told = listed(f"{column} ({often})" for column, often in wrapping.items())
    if any(column in numbers for column in wrapping):
        fix = "Read them as a rotation in the mapping: `rotation: euler_xyz`, or the robot's order."
        return failed(name, f"{told}; the mapping takes them as plain numbers", fix)
    if any(column not in rotations for column in wrapping):
        fix = "Never subtract or interpolate these. A mapping can turn them into rotations."
        return warned(name, told, fix)
    if wrapping:
        return passed(name, f"{told}; the mapping turns them into 6-D rotations")
    return passed(name, "no angle jumps by a full turn")


def count_wraps(values: np.ndarray) -> int:
    """How often [N] values, which stay within one full turn, jump by nearly that much."""
    for turn, slack, tolerance in CIRCLES:
        if np.abs(values).max() <= turn + slack and np.ptp(values) <= turn + slack:
            jumps = int((np.abs(np.diff(values)) > turn - tolerance).sum())
            if jumps:
                return jumps
    return 0


def turn_of(values: np.ndarray) -> float | None:
    """The full turn by which [N] values wrap, or None where they do not."""
    if not count_wraps(values):
        return None
    return CIRCLES[0][0] if np.abs(values).max() <= CIRCLES[0][0] + CIRCLES[0][1] else CIRCLES[1][0]


def _pile_up(name: str, values: np.ndarray) -> list[str]:
    """Ends of [N] values at which too many frames rest. Gripper and switches rest by design."""
    if "gripper" in name.lower() or len(np.unique(values)) <= FEW_VALUES:
        return []
    slack = 1e-4 * np.ptp(values)
    counts = {
        values.max(): np.sum(values >= values.max() - slack),
        values.min(): np.sum(values <= values.min() + slack),
    }
    least = max(FEW_VALUES, SATURATED_SHARE * len(values))
    return [
        f"{name} at {value:.4g} ({count / len(values):.0%})"
        for value, count in counts.items()
        if count >= least
    ]
