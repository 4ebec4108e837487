"""Held-out chunks drawn over their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.codecs import ABSENT, Codec
from analysis.evalset import EvalSet
from analysis.style import GRID, TEXT
from rvq_action.layout import DeltaRule

MOTION_QUANTILES = (0.5, 0.75, 0.95)
"""The drawn windows lie at these quantiles of motion, so that resting ones do not fill the page."""
CHANNELS = 3


@dataclass(frozen=True)
class Trajectories:
    """n windows, the channels that move most.

    Attributes:
        seconds: [T].
        recorded: [n, T, c] relative model space, physical units.
        reconstructed: Label -> [n, T, c].
        channels: Names of the c channels.
        units: Their units.
        anchored: Of them, those relative to the robot's state; the others are as recorded.
        titles: Where each window is from.
    """

    seconds: np.ndarray
    recorded: np.ndarray
    reconstructed: dict[str, np.ndarray]
    channels: list[str]
    units: list[str]
    anchored: list[str]
    titles: list[str]


def compute(data: EvalSet, variants: Sequence[tuple[str, Codec, np.ndarray, int]]) -> Trajectories:
    """Decode a few windows.

    Args:
        data: The held-out windows.
        variants: (label, codec, its tokens [N, L] of all windows, length of the prefix).
    """
    chosen = _windows(data)
    batch = data.batch.take(chosen)
    columns = _columns(data)
    specs = [data.layout.channels[data.channels[c]] for c in columns]
    reconstructed = {}
    for label, codec, tokens, length in variants:
        prefix = tokens[chosen].copy()
        prefix[:, length:] = ABSENT
        reconstructed[label] = codec.decode(prefix, batch).relative[..., columns]
    starts = data.windows.starts[data.indices[chosen]] / data.fps
    titles = [f"episode {e}, {s:.1f} s" for e, s in zip(data.episode_of[chosen], starts)]  # noqa: B905
    return Trajectories(
        np.arange(data.horizon) / data.fps,
        batch.relative[..., columns],
        reconstructed,
        [spec.name for spec in specs],
        [spec.unit for spec in specs],
        [spec.name for spec in specs if spec.delta is not DeltaRule.RAW],
        titles,
    )


def _columns(data: EvalSet) -> np.ndarray:
    """The scored channels that move most, spread over the groups."""
    groups = [data.layout.channels[channel].group for channel in data.channels]
    most = -(-CHANNELS // len(set(groups)))
    chosen: list[int] = []
    for column in np.argsort(data.batch.scored.std(axis=1).mean(axis=0))[::-1]:
        if [groups[c] for c in chosen].count(groups[column]) < most and len(chosen) < CHANNELS:
            chosen.append(int(column))
    return np.sort(chosen)


def _windows(data: EvalSet) -> np.ndarray:
    """Windows at fixed quantiles of motion, from different episodes where there are enough."""
    motion = np.abs(np.diff(data.batch.scored, axis=1)).mean(axis=(1, 2))
    chosen: list[int] = []
    for quantile in MOTION_QUANTILES:
        order = np.argsort(np.abs(motion - np.quantile(motion, quantile)))
        used = set(data.episode_of[chosen])
        fresh = [int(i) for i in order if data.episode_of[i] not in used]
        chosen.append(fresh[0] if fresh else int(next(i for i in order if i not in chosen)))
    return np.array(chosen)


def plot(result: Trajectories, window: int, channel: int, colours: dict[str, str], ax) -> None:
    """One channel of one window; reconstructions in their colours over the recording."""
    recorded = result.recorded[window, :, channel]
    ax.plot(result.seconds, recorded, color=TEXT, linewidth=4.5, alpha=0.22, label="recorded")
    for label, values in result.reconstructed.items():
        ax.plot(result.seconds, values[window, :, channel], color=colours[label], label=label)
    ax.grid(color=GRID)
    ax.margins(x=0)
