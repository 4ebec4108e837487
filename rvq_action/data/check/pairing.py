"""Which action channel belongs to which channel of the measured state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rvq_action.data.check.channels import turn_of
from rvq_action.data.check.recording import Recording

STATE = "observation.state"
SUFFIXES = ("_vel", "_velocity", "_pos", "_position", ".vel", ".velocity", ".pos", ".position")


@dataclass(frozen=True)
class Pair:
    """One action channel and its state channel.

    Attributes:
        name: The action channel.
        action: [N] per episode, angles unwrapped.
        state: [N] per episode, angles unwrapped.
    """

    name: str
    action: list[np.ndarray]
    state: list[np.ndarray]


def pair_channels(recording: Recording, feature: str) -> list[Pair]:
    """Pair an action feature with the state: by name, by bare name, else by position.

    Position counts only where both have the same width.
    """
    if STATE not in recording.names:
        return []
    actions, states = recording.names[feature], recording.names[STATE]
    matches = match_names(actions, states)
    rows, measured = recording.episodes_of(feature), recording.episodes_of(STATE)
    return [
        Pair(
            actions[a], _unwrapped([r[:, a] for r in rows]), _unwrapped([m[:, s] for m in measured])
        )
        for a, s in matches
    ]


def match_names(actions: Sequence[str], states: Sequence[str]) -> list[tuple[int, int]]:
    """Positions of channels that belong together."""
    for key in (str, bare_name):
        keyed = [key(name) for name in states]
        found = [(a, keyed.index(key(n))) for a, n in enumerate(actions) if key(n) in keyed]
        if found:
            return found
    return [(i, i) for i in range(len(actions))] if len(actions) == len(states) else []


def bare_name(name: str) -> str:
    """A channel's name without a suffix that says position or velocity."""
    lower = name.lower()
    return next((lower[: -len(s)] for s in SUFFIXES if lower.endswith(s)), lower)


def _unwrapped(series: list[np.ndarray]) -> list[np.ndarray]:
    turn = turn_of(np.concatenate(series))
    return series if turn is None else [np.unwrap(s, period=turn) for s in series]
