"""Action against measured state: the same quantity or its velocity, and how late the robot is.

Correlations are pooled over episodes, each with its own mean removed. A lag L says that the
state of frame t + L answers the action of frame t.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from rvq_action.data.check.finding import Finding, counted, passed, warned
from rvq_action.data.check.pairing import STATE, Pair, pair_channels
from rvq_action.data.check.recording import Recording

LONGEST_LAG_S = 1.0
MOST_EPISODES = 100
"""Enough to know a lag, and quick."""
FEWEST_FRAMES = 50
"""With less than this nothing is said."""
CLEAR = 0.75
"""Correlation from which a channel's lag is trusted."""
SLOW_S = 0.5
"""A robot later than this [s] is worth a warning."""
LEVEL = "the same quantity as the state"
VELOCITY = "a velocity (it goes with d(state)/dt), so no anchor can be subtracted"


@dataclass(frozen=True)
class Follow:
    """How one channel of the state follows its action.

    Attributes:
        name: The action channel.
        kind: `LEVEL` or `VELOCITY`.
        lag: Frames.
        correlation: At that lag.
        slope: State units per action unit (for velocities per second); 1 where units agree.
    """

    name: str
    kind: str
    lag: int
    correlation: float
    slope: float


def check_lag(
    recording: Recording,
    groups: dict[str, dict[str, list[str]]],
    scaled: Collection[str] = (),
) -> list[Finding]:
    """One row per action feature.

    Args:
        recording: The dataset's numbers.
        groups: Per feature, names of channels to report together.
        scaled: Features whose units a mapping converts.
    """
    if STATE not in recording.names:
        fix = "A tokenizer of relative actions needs the measured state as its anchor: record it."
        return [warned("lag: state", f"the dataset has no {STATE}", fix)]
    features = recording.action_features
    return [
        _feature_finding(recording, feature, groups.get(feature, {}), feature in scaled)
        for feature in features
    ]


def follow(pair: Pair, fps: float) -> Follow:
    """Estimate how the state follows an action channel."""
    longest = max(1, min(round(LONGEST_LAG_S * fps), max(map(len, pair.action)) // 3))
    series = {LEVEL: _levels, VELOCITY: _velocities}
    best = {kind: _best_lag(_series(pair, make, longest), longest) for kind, make in series.items()}
    kind = LEVEL if best[LEVEL][1] >= best[VELOCITY][1] else VELOCITY
    lag, correlation, slope = best[kind]
    return Follow(pair.name, kind, lag, correlation, slope * (fps if kind is VELOCITY else 1.0))


def _levels(action: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return action, state


def _velocities(action: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean action and the state's change between two frames."""
    return (action[:-1] + action[1:]) / 2, np.diff(state)


def _series(pair: Pair, make: Callable, longest: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Evenly spread episodes that are long enough for the longest lag."""
    both = [b for b in zip(pair.action, pair.state, strict=True) if len(b[0]) >= 3 * longest]
    if sum(len(b[0]) for b in both) < FEWEST_FRAMES:
        return []
    chosen = np.linspace(0, len(both) - 1, min(len(both), MOST_EPISODES)).round().astype(int)
    return [make(*both[i]) for i in chosen]


def _best_lag(series, longest: int) -> tuple[int, float, float]:
    """Lag, correlation and slope at the largest correlation."""
    found = [(lag, *_correlation(series, lag)) for lag in range(-longest, longest + 1)]
    return max(found, key=lambda f: (f[1], -abs(f[0])))


def _correlation(series, lag: int) -> tuple[float, float]:
    """Pooled correlation and regression slope of the state, `lag` frames later, on the action."""
    both = squared_action = squared_state = 0.0
    for action, state in series:
        if len(action) - abs(lag) < 3:
            continue
        x = action[: len(action) - lag] if lag >= 0 else action[-lag:]
        y = state[lag:] if lag >= 0 else state[:lag]
        x, y = x - x.mean(), y - y.mean()
        both, squared_action = both + x @ y, squared_action + x @ x
        squared_state += y @ y
    if squared_action <= 1e-20 or squared_state <= 1e-20:
        return 0.0, 0.0
    return both / np.sqrt(squared_action * squared_state), both / squared_action


def _feature_finding(recording: Recording, feature: str, groups: dict, scaled: bool) -> Finding:
    name = f"lag: {feature}"
    pairs = pair_channels(recording, feature)
    if not pairs:
        fix = "Give both the same channel names, so that the lag can be measured."
        return warned(name, f"no channel of {STATE} belongs to it by name or width", fix)
    follows = [follow(pair, recording.fps) for pair in pairs]
    clear = [f for f in follows if f.correlation >= CLEAR]
    if not clear:
        best = max(f.correlation for f in follows)
        fix = "Check that action and state are of the same robot, in the same order and rate."
        return warned(name, f"the state does not follow it (best correlation {best:.2f})", fix)
    kind = max((LEVEL, VELOCITY), key=lambda k: sum(f.kind is k for f in clear))
    clear = [f for f in clear if f.kind is kind]
    told = _told_by_group(clear, follows, groups, recording.fps)
    slope = np.median([f.slope for f in clear])
    if not (scaled or 0.5 < slope < 2):
        fix = "Units differ (degrees, millimetres?): set `unit` or `scale` in the mapping."
        return warned(name, f"{kind}; {told}; the state moves by {slope:.3g} per unit", fix)
    return _verdict(name, kind, clear, f"{kind}; {told}", recording.fps)


def _verdict(name: str, kind: str, clear: list[Follow], message: str, fps: float) -> Finding:
    lag = np.median([f.lag for f in clear])
    if kind is LEVEL and lag < 0:
        fix = "The state runs ahead of its cause: the columns are shifted. Align them."
        return warned(name, message, fix)
    if lag > SLOW_S * fps:
        fix = "Very late: check the alignment of the columns, or the controller's gains."
        return warned(name, message, fix)
    return passed(name, message)


def _told_by_group(clear: list[Follow], follows: list[Follow], groups: dict, fps: float) -> str:
    grouped = {name for names in groups.values() for name in names}
    rest = [f.name for f in follows if f.name not in grouped]
    texts = []
    for group, names in {**groups, "": rest}.items():
        members = [f for f in clear if f.name in names]
        unclear = sum(f.name in names for f in follows) - len(members)
        label = f"{group} " if group else ""
        texts += [label + _told(members, fps)] if members else []
        texts += [f"{label}{counted(unclear, 'channel')} without a clear lag"] if unclear else []
    return ", ".join(texts)


def _told(group: list[Follow], fps: float) -> str:
    lags = [f.lag for f in group]
    span = f"{min(lags)}" if min(lags) == max(lags) else f"{min(lags)} to {max(lags)}"
    strength = math.floor(100 * min(f.correlation for f in group)) / 100
    seconds = np.median(lags) / fps
    return f"{span} frames behind ({seconds:.2f} s, correlation {strength:.2f} or better)"
