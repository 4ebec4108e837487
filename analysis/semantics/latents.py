"""A picture of the latents before quantisation: two principal axes, coloured by task or phase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.rvq_codec import RvqCodec
from analysis.semantics.seen import SemanticSet
from analysis.style import GRID, SERIES

SHADES = 4
"""The phase of an episode is drawn in so many colours: matplotlib may not blend sentinels."""


@dataclass(frozen=True)
class LatentPicture:
    """N windows on the plane.

    Attributes:
        name: Name of the tokenizer.
        points: [N, 2] along the first two principal axes, unit variance each.
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
    """Principal axes of the standardised latents of the held-out windows."""
    latents = codec.latents(data.held_out.batch)
    spread = latents.std(0)
    varying = spread > 1e-6 * max(spread.max(initial=0), 1e-12)
    centred = (latents - latents.mean(0))[:, varying] / spread[varying]
    turned, values, _ = np.linalg.svd(centred, full_matrices=False)
    energy = values**2
    share = float(energy[:2].sum() / energy.sum()) if energy.sum() else 0.0
    points = np.zeros((len(latents), 2))
    points[:, : turned.shape[1]] = turned[:, :2] * np.sqrt(len(latents))
    return LatentPicture(codec.name, points, *_groups(data), share)


def _groups(data: SemanticSet) -> tuple[np.ndarray, list[str]]:
    """By task where there are several and colours for them, else by the phase of the episode."""
    tasks = sorted(set(data.held_out.tasks))
    if 1 < len(tasks) <= len(SERIES):
        return np.searchsorted(tasks, data.held_out.tasks), tasks
    lengths = {e.index: len(e) - data.data.horizon + 1 for e in data.data.windows.episodes}
    last = np.array([lengths[episode] for episode in data.held_out.episode])
    phase = np.minimum(data.held_out.start * SHADES // last, SHADES - 1)
    return phase, [f"{name} quarter" for name in ("first", "second", "third", "last")]


def plot(result: LatentPicture, ax) -> None:
    """One dot per window."""
    for number, name in enumerate(result.groups):
        x, y = result.points[result.group == number].T
        ax.plot(x, y, "o", color=SERIES[number], markersize=3, alpha=0.7, label=name)
    ax.set_title(f"{result.name}, {100 * result.explained:.0f} % of the variance")
    ax.set(xticks=[], yticks=[])
    ax.grid(color=GRID)
