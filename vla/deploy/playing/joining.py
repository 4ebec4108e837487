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

from vla.deploy.playing.chunking import Chunk

BACK = 2
"""Frames before a seam, and bends at it: of the new chunk's first frame and of the one behind."""
SAME = 0.01
"""Of a usual bend: plans that are so near to one another do not differ yet."""
GAIN = 0.75
"""Of what the best seam saves against taking over at once: the first one that saves as much."""
ROUNDING = 1e-6
"""Of a channel's largest value: bends that are no larger are none; costs that near are the same."""


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
    old_bends, new_bends = _bends(before), _bends(behind)
    one, two, three = before[:count], before[1 : count + 1], behind[:count]
    seam_bends = np.abs([three - 2 * two + one, behind[1 : count + 1] - 2 * three + two])
    usual = np.concatenate([old_bends, new_bends, *seam_bends]).mean(0)
    most = np.abs(np.concatenate([before, behind])).max(0)
    unit = np.where(usual > ROUNDING * most, usual, np.inf)
    costs = _costs(*((bends / unit).sum(-1) for bends in (old_bends, new_bends, seam_bends)))
    differ = (np.abs(before[BACK:] - three) > SAME * unit).any(1)
    costs = costs[(first := int(differ.argmax())) :]
    enough = costs <= costs.min() + (1 - GAIN) * (costs[0] - costs.min()) + ROUNDING
    return moments[first + int(enough.argmax())]


def _moments(old: Chunk, new: Chunk, now: float, until: float) -> list[float]:
    """When frames of both are due, one frame of the new chunk apart, before `until`."""
    count = max(0, int(np.ceil((until - now) * new.fps - 1e-6)))
    moments = [now + number / new.fps for number in range(count)]
    return [time for time in moments if not old.is_over(time)]


def _costs(old: np.ndarray, new: np.ndarray, seam: np.ndarray) -> np.ndarray:
    """Of a seam at each of n frames: bends of the path, those at the seam twice.

    Args:
        old: [n] of the old chunk, frame by frame; played before the seam.
        new: [n] of the new one, from the third frame on; played behind the seam's two.
        seam: [2, n] of the two frames at the seam.
    """
    before = np.concatenate([[0.0], np.cumsum(old)[:-1]])
    behind = np.cumsum(new[::-1])[::-1]
    return before + 2 * seam.sum(0) + behind


def _frames(chunk: Chunk, now: float, fps: float, numbers: range) -> np.ndarray:
    """float64 [n, D] so many frames from now; outside of the chunk its first or last one.

    In between they are linear, rotations too: near enough to see where a path bends.
    """
    positions = np.array([chunk.position(now + number / fps) for number in numbers])
    positions = positions.clip(0, len(chunk.actions) - 1)
    frame = np.minimum(positions.astype(int), max(len(chunk.actions) - 2, 0))
    after, share = np.minimum(frame + 1, len(chunk.actions) - 1), (positions - frame)[:, None]
    return (1 - share) * chunk.actions[frame] + share * chunk.actions[after]


def _bends(path: np.ndarray) -> np.ndarray:
    """[n, D] -> [n - 2, D]."""
    return np.abs(np.diff(path, 2, axis=0))
