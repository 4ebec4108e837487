"""Under which horizons and rates a tokenizer is used that was trained at one of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.evalset import EvalSet, thinned
from analysis.transfer.resample import resample
from rvq_action.data.windows import Windows, horizon_frames

HORIZONS = (15, 50)
RATES = (10.0, 50.0)


@dataclass(frozen=True)
class Condition:
    """One use.

    Attributes:
        horizon: T, frames of a window.
        fps: Frames per second.
        resampled: Whether the recording had another rate.
    """

    horizon: int
    fps: float
    resampled: bool = False

    @property
    def name(self) -> str:
        """In words."""
        text = f"{self.horizon} frames at {self.fps:g} Hz"
        return f"{text}, resampled" if self.resampled else text


def conditions_of(data: EvalSet) -> list[Condition]:
    """As trained, then other horizons at its rate, then one second at other rates."""
    native = Condition(data.horizon, data.fps)
    others = [Condition(horizon, data.fps) for horizon in HORIZONS]
    rates = [Condition(horizon_frames(fps), fps, True) for fps in RATES if fps != data.fps]
    return [native, *(c for c in others if c != native), *rates]


def cut(data: EvalSet, condition: Condition) -> EvalSet:
    """The held-out episodes under a condition, in the scored space of the training windows.

    Raises:
        ValueError: No held-out episode is long enough.
    """
    episodes = data.windows.episodes
    if condition.resampled:
        episodes = [resample(episode, condition.fps) for episode in episodes]
    windows = Windows(episodes, condition.horizon)
    indices = thinned(windows)
    return replace(
        data,
        fps=condition.fps,
        windows=windows,
        indices=indices,
        batch=data.cut(windows, indices),
        episode_of=windows.episode_ids[indices],
    )


def possible(data: EvalSet, conditions: Sequence[Condition]) -> list[Condition]:
    """Those that any held-out episode is long enough for."""
    seconds = max((len(e) - 1) / e.fps for e in data.windows.episodes)
    return [c for c in conditions if (c.horizon - 1) / c.fps <= seconds]
