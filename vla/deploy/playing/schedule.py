"""Schedules: when a chunk is asked for, and what frame of which chunk is due.

    receding       |0 1 2 3|....|0 1 2 3|....      execute k frames, stand still, plan
    asynchronous   |0 1 2 3 4 5|2 3 4 5 6|1 2 3    plan while the last chunk goes on; frames that
                         ^ask       ^ask           have passed when the new one arrives are skipped
    joined         the same, and the new one takes over where the path bends least, see `joining`
    real_time      the same, and the new chunk is told the frames of the old one that it meets
    ensemble       the mean of all chunks that have a frame for now

All of them count in the time at which the control loop's periods begin, not in when it woke up.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple, Protocol

import numpy as np

from vla.deploy.playing.chunking import Chunk, ensemble, slowed
from vla.deploy.playing.joining import smoothest_seam
from vla.deploy.playing.schedule_settings import ScheduleSettings
from vla.deploy.policies.policy import Committed, PolicyDescription

RECENT_DELAYS = 10
"""Chunks whose largest delay is expected of the next one."""
JOINED = ("joined", "real_time")
EPSILON = 1e-9
"""Of a second: a moment that is so near has come."""


class Due(NamedTuple):
    """What is to be done now: command float64 [D], of which chunk, at which of its frames."""

    command: np.ndarray
    chunk: int
    frame: float


class Schedule(Protocol):
    """Decides what is due."""

    def wants(self, now: float) -> bool:
        """Whether the next chunk is to be asked for."""
        ...

    def committed(self, now: float) -> Committed | None:
        """What goes with the request."""
        ...

    def add(self, actions: np.ndarray, number: int, asked: float, now: float) -> bool:
        """Take a chunk.

        Args:
            actions: [T, D] physical, absolute.
            number: Of its request.
            asked: When it was asked for.
            now: When it arrived.

        Returns:
            Whether it is of use; False where all its frames have passed.
        """
        ...

    def due(self, now: float) -> Due | None:
        """What is to be done now; None: nothing is known."""
        ...

    def clear(self) -> None:
        """Forget all chunks."""
        ...


class _Player:
    """What schedules have in common: chunks of a policy at a fraction of their speed."""

    def __init__(self, policy: PolicyDescription, settings: ScheduleSettings, speed: float) -> None:
        self.layout, self.speed, self.fps = policy.layout, speed, policy.fps * speed
        self.frames = settings.frames(policy.horizon)
        self.settings = settings
        self.chunks: deque[Chunk] = deque()

    @property
    def newest(self) -> Chunk | None:
        return self.chunks[-1] if self.chunks else None

    def wants(self, now: float) -> bool:
        return self.newest is None or self.newest.position(now) >= self.frames

    def committed(self, now: float) -> Committed | None:
        return None

    def clear(self) -> None:
        self.chunks.clear()

    def _chunk(self, actions: np.ndarray, number: int, start: float) -> Chunk:
        values = np.asarray(actions, dtype=np.float64)
        return Chunk(values, start, self.fps, number, self.layout)

    def _due(self, values: np.ndarray, chunk: Chunk, position: float) -> Due:
        return Due(slowed(values, self.layout, self.speed), chunk.number, position)


class RecedingHorizon(_Player):
    """Execute the first k frames, stand still, plan anew from what is seen then."""

    def add(self, actions: np.ndarray, number: int, asked: float, now: float) -> bool:
        self.chunks = deque([self._chunk(actions, number, now)])
        return True

    def due(self, now: float) -> Due | None:
        chunk = self.newest
        if chunk is None or (position := chunk.position(now)) >= self.frames:
            return None
        return self._due(chunk.at(position), chunk, position)


class Asynchronous(_Player):
    """The next chunk is computed while this one goes on, to its end if need be.

    Where chunks are joined there are two for a while, the one that is played and the next one.
    """

    def __init__(
        self,
        policy: PolicyDescription,
        settings: ScheduleSettings,
        speed: float,
        patience_s: float,
    ) -> None:
        super().__init__(policy, settings, speed)
        self.patience_s = patience_s
        self._delays: deque[float] = deque([1 / self.fps], RECENT_DELAYS)
        self._takes_over = 0.0

    def committed(self, now: float) -> Committed | None:
        """What the running chunk still has, where the next one is to go on from it."""
        chunk = self.newest
        if self.settings.mode != "real_time" or chunk is None or chunk.is_over(now):
            return None
        left = chunk.rest(now)
        delay = int(np.ceil(max(self._delays) * self.fps - 1e-6))
        return Committed(left, max(1, min(delay, len(left))))

    def add(self, actions: np.ndarray, number: int, asked: float, now: float) -> bool:
        """A robot that stood still when the chunk was asked for begins with its first frame."""
        was_moving = self.newest is not None and not self.newest.is_over(asked)
        chunk = self._chunk(actions, number, asked if was_moving else now)
        if chunk.is_over(now):
            return False
        if was_moving:
            self._delays.append(now - asked)
        self._follow(chunk, now)
        return True

    def _follow(self, chunk: Chunk, now: float) -> None:
        """Let a chunk take over: now, or where chunks are joined before the next one is wanted."""
        old, self._takes_over = self._playing(now), now
        self.chunks = deque([chunk])
        if self.settings.mode in JOINED and old is not None and not old.is_over(now):
            until = chunk.start + min(self.frames / chunk.fps, self.patience_s)
            self._takes_over = smoothest_seam(old, chunk, now, until)
            self.chunks.appendleft(old)

    def _playing(self, now: float) -> Chunk | None:
        """The chunk that is played; the one before is forgotten."""
        if len(self.chunks) == 2 and now >= self._takes_over - EPSILON:
            self.chunks.popleft()
        return self.chunks[0] if self.chunks else None

    def due(self, now: float) -> Due | None:
        chunk = self._playing(now)
        if chunk is None or chunk.is_over(now):
            return None
        position = chunk.position(now)
        return self._due(chunk.at(position), chunk, position)


class TemporalEnsemble(_Player):
    """The mean of all chunks that have a frame for now."""

    def add(self, actions: np.ndarray, number: int, asked: float, now: float) -> bool:
        was_moving = self.newest is not None and not self.newest.is_over(asked)
        chunk = self._chunk(actions, number, asked if was_moving else now)
        if not chunk.is_over(now):
            self.chunks.append(chunk)
        return not chunk.is_over(now)

    def due(self, now: float) -> Due | None:
        while self.chunks and self.chunks[0].is_over(now):
            self.chunks.popleft()
        if self.newest is None:
            return None
        ages = [chunk.position(now) for chunk in self.chunks]
        frames = [chunk.at(age) for chunk, age in zip(self.chunks, ages, strict=True)]
        mean = ensemble(frames, ages, self.settings.ensemble_decay, self.layout)
        return self._due(mean, self.newest, ages[-1])


def make_schedule(
    policy: PolicyDescription,
    settings: ScheduleSettings,
    speed: float = 1.0,
    patience_s: float = math.inf,
) -> Schedule:
    """The schedule that the settings name.

    Args:
        policy: Whose chunks are played.
        settings: How they follow one another.
        speed: Fraction of full speed: chunks are played so much slower.
        patience_s: After the next chunk was asked for, the last one is played no longer than that
            to join both [s].

    Raises:
        ValueError: Chunks are too short, or the policy cannot go on from committed frames.
    """
    if settings.mode == "real_time" and not policy.real_time:
        raise ValueError(
            "Real-time chunking takes a policy that can go on from committed frames, and this one "
            "cannot. Choose the mode `joined`."
        )
    if settings.mode == "receding":
        return RecedingHorizon(policy, settings, speed)
    if settings.mode == "ensemble":
        return TemporalEnsemble(policy, settings, speed)
    return Asynchronous(policy, settings, speed, patience_s)
