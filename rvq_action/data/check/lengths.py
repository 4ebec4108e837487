"""Length distribution of the episodes."""

from __future__ import annotations

import numpy as np

from rvq_action.data.check.finding import Finding, counted, failed, passed, runs, warned
from rvq_action.data.check.recording import Recording
from rvq_action.data.split import (
    MIN_EPISODES,
    MIN_VALIDATION,
    episodes_to_train,
    usual_validation,
)

WINDOW_S = 1.0
"""Length of a training window [s]."""


def check_lengths(recording: Recording) -> list[Finding]:
    """Episodes shorter than a window, and how many episodes there are."""
    seconds = np.array([len(c["timestamp"]) for c in recording.columns]) / recording.fps
    return [_lengths(recording, seconds), _count(len(seconds))]


def _lengths(recording: Recording, seconds: np.ndarray) -> Finding:
    name = "length: episodes"
    low, middle, high = seconds.min(), np.median(seconds), seconds.max()
    spread = (
        f"{low:.1f} to {high:.1f} s, median {middle:.1f} s, {seconds.sum() / 60:.1f} min in all"
    )
    short = [i for i, s in zip(recording.indices, seconds, strict=True) if s < WINDOW_S]
    if short:
        return warned(
            name,
            f"{spread}; shorter than one window of {WINDOW_S:g} s: {runs(short)}",
            "They give no whole training window. Leave them out, or take a shorter horizon.",
        )
    if high > 5 * middle:
        long = recording.indices[int(seconds.argmax())]
        return warned(
            name,
            f"{spread}; episode {long} is more than five times the median",
            "Watch it: a forgotten stop button records a resting robot. Cut or remove it.",
        )
    return passed(name, spread)


def _count(episodes: int) -> Finding:
    name = "length: number"
    if episodes < MIN_EPISODES:
        return failed(
            name,
            counted(episodes, "episode"),
            f"Record at least {MIN_EPISODES}: one to fit on, one to validate on, and one that is "
            "held out to measure on.",
        )
    validating, enough = usual_validation(episodes), episodes_to_train()
    if validating < MIN_VALIDATION:
        return warned(
            name,
            f"{episodes} episodes, of which {validating} would validate: too few to tell learning "
            "from memorising, so `rvq-train fit` fits a closed form and trains nothing (`--config "
            "aligned` is refused); figures on held-out episodes will be uncertain",
            f"Record at least {enough}, raise --data.validation, or train on several sets at once.",
        )
    return passed(name, f"{episodes} episodes")
