"""Outliers: values far outside the rest, and jumps no robot makes."""

from __future__ import annotations

import numpy as np

from rvq_action.data.check.channels import FEW_VALUES, turn_of
from rvq_action.data.check.finding import Finding, counted, listed, passed, warned
from rvq_action.data.check.recording import Recording

CENTRAL_SIGMAS = 4.653
"""Width of the central 98 % of a normal distribution, in standard deviations."""
LEVEL_Z, JUMP_RATIO = 8.0, 8.0


def check_outliers(recording: Recording) -> list[Finding]:
    """One row for values and one for jumps, over all action and state features."""
    levels, jumps = [], []
    for feature in recording.signal_features:
        episodes = recording.episodes_of(feature)
        for channel, name in enumerate(recording.names[feature]):
            series = [rows[:, channel] for rows in episodes]
            values = np.concatenate(series)
            if len(np.unique(values)) <= FEW_VALUES or turn_of(values):
                continue
            found = _worst(robust_z(series), LEVEL_Z)
            levels += _told(feature, name, "z", found, recording.indices)
            found = _worst(jump_ratio(series), JUMP_RATIO)
            jumps += _told(feature, name, "x", found, recording.indices)
    return [_level_finding(levels), _jump_finding(jumps)]


def robust_z(series: list[np.ndarray]) -> list[np.ndarray]:
    """Distance from the median in robust standard deviations (from the central 98 %), per frame."""
    values = np.concatenate(series)
    low, middle, high = np.quantile(values, [0.01, 0.5, 0.99])
    sigma = (high - low) / CENTRAL_SIGMAS
    return [np.abs(s - middle) / sigma if sigma > 0 else np.zeros_like(s) for s in series]


def jump_ratio(series: list[np.ndarray]) -> list[np.ndarray]:
    """Step to the next frame as a multiple of the 99th percentile of all steps, per frame."""
    steps = [np.abs(np.diff(s)) for s in series]
    usual = np.quantile(np.concatenate([*steps, [0.0]]), 0.99)
    return [s / usual if usual > 0 else np.zeros_like(s) for s in steps]


def _worst(scores: list[np.ndarray], limit: float) -> tuple[float, int, int, int] | None:
    """Largest score, its episode's position, its frame, and how many frames exceed the limit."""
    tops = [s.max(initial=0) for s in scores]
    episode = int(np.argmax(tops))
    if tops[episode] <= limit:
        return None
    count = sum(int((s > limit).sum()) for s in scores)
    return tops[episode], episode, int(scores[episode].argmax()), count


def _told(feature, name, unit, found, indices) -> list[str]:
    if found is None:
        return []
    score, episode, frame, count = found
    text = f"{score:.0f}x" if unit == "x" else f"z {score:.0f}"
    return [
        f"{feature} {name} ({counted(count, 'frame')}, worst {text}: episode {indices[episode]}, "
        f"frame {frame})"
    ]


def _level_finding(levels: list[str]) -> Finding:
    if levels:
        return warned(
            "outliers: values",
            listed(levels, 4),
            "Look at these frames. A channel that rests nearly always and moves seldom is "
            "harmless; a glitch of a sensor is not: repair the rows.",
        )
    return passed("outliers: values", f"none beyond {LEVEL_Z:g} robust standard deviations")


def _jump_finding(jumps: list[str]) -> Finding:
    if jumps:
        return warned(
            "outliers: jumps",
            f"steps far beyond the 99th percentile: {listed(jumps, 4)}",
            "Look at these frames: dropped frames, a reset at the start, or a glitch. Cut them.",
        )
    return passed("outliers: jumps", f"none beyond {JUMP_RATIO:g} times the 99th percentile")
