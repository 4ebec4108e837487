"""A picture of the latents before quantisation: two principal axes, coloured by task, or by the
phase of the episode where there is one task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.rvq_codec import RvqCodec
from analysis.semantics.seen import SemanticSet
from analysis.style import SERIES

PHASES = ("first quarter", "second quarter", "third quarter", "last quarter")
MARKERS = "o^sD"
SEEN = (1, 99)
"""Percentiles of the windows along each axis that the picture is sure to hold."""


@dataclass(frozen=True)
class LatentPicture:
    """N windows on the plane.

    Attributes:
        name: Name of the tokenizer.
        points: [N, 2] along the first two principal axes.
        group: [N] number of each window's group.
        groups: Names of the groups.
        explained: Share of the variance along the two axes.
    """

    name: str
    points: np.ndarray
    group: np.ndarray
    groups: list[str]
    explained: float


def compute(codec: RvqCodec, data: SemanticSet) -> LatentPicture:
    """Principal axes of the latents of the held-out windows."""
    latents = codec.latents(data.held_out.batch)
    turned, values, _ = np.linalg.svd(latents - latents.mean(0), full_matrices=False)
    points = (turned * values)[:, :2]
    share = float((values[:2] ** 2).sum() / max((values**2).sum(), 1e-12))
    return LatentPicture(codec.name, points, *_groups(data), share)


def _groups(data: SemanticSet) -> tuple[np.ndarray, list[str]]:
    """By task where there are several, else by the phase of the episode."""
    tasks = sorted(set(data.held_out.tasks))
    if 1 < len(tasks) <= len(SERIES) * len(MARKERS):
        return np.searchsorted(tasks, data.held_out.tasks), tasks
    lengths = {e.index: len(e) - data.data.horizon + 1 for e in data.data.windows.episodes}
    last = np.array([lengths[episode] for episode in data.held_out.episode])
    return data.held_out.start * len(PHASES) // last, list(PHASES)


def plot(result: LatentPicture, ax) -> None:
    """One dot per window; where colours run out, another shape."""
    for number, name in enumerate(result.groups):
        shape, colour = divmod(number, len(SERIES))
        x, y = result.points[result.group == number].T
        style = {"color": SERIES[colour], "marker": MARKERS[shape], "markersize": 3.5}
        ax.plot(x, y, linestyle="none", alpha=0.7, label=name, **style)
    low, high = np.percentile(result.points, SEEN, axis=0)
    room = 0.15 * np.maximum(high - low, 1e-9)
    ax.set(xlim=(low[0] - room[0], high[0] + room[0]), ylim=(low[1] - room[1], high[1] + room[1]))
    ax.set_title(f"{result.name}, {100 * result.explained:.0f} % of the variance")
    ax.set(xticks=[], yticks=[])
