"""Idle share: frames in which nobody moves the robot."""

from __future__ import annotations

import numpy as np

from rvq_action.data.check.finding import Finding, passed, warned
from rvq_action.data.check.lengths import WINDOW_S
from rvq_action.data.episode import Episode
from rvq_action.data.idle import IdleRule

IDLE_SPEED = 0.01
"""A channel rests below this share of the 99th percentile of its group's fastest channel."""
MUCH = 0.15


def check_idle(episodes: list[Episode]) -> Finding:
    """The share of idle frames, the longest idle stretch, and what training would leave out."""
    fps, rests = episodes[0].fps, idle_frames(episodes)
    share = float(np.concatenate(rests).mean())
    shares = [r.mean() for r in rests]
    longest = [longest_run(r) for r in rests]
    worst = int(np.argmax(longest))
    windows = np.concatenate(IdleRule().idle_starts(episodes, max(2, round(WINDOW_S * fps))))
    message = (
        f"{share:.0%} of the frames ({min(shares):.0%} to {max(shares):.0%} per episode), the "
        f"longest stretch {longest[worst] / fps:.1f} s (episode {episodes[worst].index}); "
        f"{windows.mean():.0%} of the windows of {WINDOW_S:g} s count as idle"
    )
    if share > MUCH:
        fix = "Training drops idle windows by rule: keep that on, or cut the episodes."
        return warned("idle: share", message, fix)
    return passed("idle: share", message)


def idle_frames(episodes: list[Episode]) -> list[np.ndarray]:
    """[N] bool per episode: True where every channel rests."""
    layout, speeds = episodes[0].layout, [_speeds(e) for e in episodes]
    limits = np.full(layout.width, np.inf)
    fast = np.quantile(np.concatenate(speeds), 0.99, axis=0)
    for channels in layout.groups.values():
        limits[channels] = IDLE_SPEED * fast[channels].max()
    return [np.all(s <= limits, axis=1) for s in speeds]


def longest_run(flags: np.ndarray) -> int:
    """Length of the longest stretch of True in [N] bool."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _speeds(episode: Episode) -> np.ndarray:
    """[N, D] per frame: the step to the next frame, or the velocity itself."""
    actions = episode.actions
    steps = np.abs(np.diff(actions, axis=0, append=actions[-1:]))
    if len(steps) > 1:
        steps[-1] = steps[-2]
    is_velocity = np.array([c.unit.endswith("/s") for c in episode.layout.channels])
    return np.where(is_velocity, np.abs(actions), steps)
