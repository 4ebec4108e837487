"""Where a new chunk takes over from the one that is being played: where the path bends least.

    old      o o o o o o o o            both say what is to be done in the next frames,
    new        n n n n n n n n n n      and any of them may be the first of the new chunk
    played   o o o o n n n n n n n n

A path bends by |a_k - 2 a_{k-1} + a_{k-2}| at frame k. Two plans seldom differ everywhere: where
one has turned and the other is about to, waiting for a few frames spares a detour. Nothing is
averaged, so that what is played has always been planned.
"""

from __future__ import annotations

import numpy as np

from vla.deploy.chunking import Chunk

BACK = 2
"""Frames before a seam, and bends at it: of the new chunk's first frame and of the one behind."""
SAME = 0.01
"""Of a usual bend: plans that are so near to one another do not differ yet."""
GAIN = 0.75
"""Of what the best seam saves against taking over at once: the first one that saves as much."""
ROUNDING = 1e-6
"""Of a channel's largest value: bends that are no larger are none."""


def smoothest_seam(old: Chunk, new: Chunk, now: float, until: float) -> float:
    """When the new chunk is to take over [s], counted in its frames from now on.

    What counts is how much the path bends until both have been played, and once more what of it is
    at the seam. Bends are in units of what is usual for a channel in all the paths there are, so
    that neither units nor grippers outweigh the rest. The earliest moment where several are equal;
    none before the two plans differ, for there the seam would only be hidden.

    Args:
        old: Is being played, and not over.
        new: Has a frame for now.
        now: The first moment that may be the new chunk's.
        until: The new chunk takes over before, or now.
    """
    moments = _moments(old, new, now, until)
    count = len(moments)
    if count < 2:
        return now
    before = _frames(old, now, new.fps, range(-BACK, count))
    behind = _frames(new, now, new.fps, range(count + BACK))
    paths = [np.concatenate([before[: BACK + at], behind[at:]]) for at in range(count)]
    bends = np.abs(np.diff(paths, 2, axis=1))
    usual = bends.mean((0, 1))
    unit = np.where(usual > ROUNDING * np.abs(paths).max((0, 1)), usual, np.inf)
    differ = (np.abs(before[BACK:] - behind[:count]) > SAME * unit).any(1)
    first = int(differ.argmax())
    costs = np.array([_cost(bends[at] / unit, at) for at in range(first, count)])
    enough = costs <= costs.min() + (1 - GAIN) * (costs[0] - costs.min()) + ROUNDING
    return moments[first + int(enough.argmax())]


def _moments(old: Chunk, new: Chunk, now: float, until: float) -> list[float]:
    """When frames of both are due, one frame of the new chunk apart, before `until`."""
    count = max(0, int(np.ceil((until - now) * new.fps - 1e-6)))
    moments = [now + number / new.fps for number in range(count)]
    return [time for time in moments if not old.is_over(time)]


def _cost(bends: np.ndarray, seam: int) -> float:
    """Of a path with bends [n, D] and its seam at a frame: all of them, and those there twice."""
    each = bends.sum(1)
    return float(each.sum() + each[seam : seam + BACK].sum())


def _frames(chunk: Chunk, now: float, fps: float, numbers: range) -> np.ndarray:
    """float64 [n, D] so many frames from now; outside of the chunk its first or last one."""
    positions = (chunk.position(now + number / fps) for number in numbers)
    return np.stack([chunk.at(min(max(at, 0.0), len(chunk.actions))) for at in positions])
