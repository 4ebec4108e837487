"""Gripper polarity: which end is closed, from the data, against what the mapping says.

A closing gripper is stopped by the object: it stands still short of its target. An opening one
is not. So the end of the range at which the gripper is blocked is the closed one. Where no
measured gripper exists, episodes are taken to start open, which is weak evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rvq_action.data.check.finding import Finding, failed, passed, warned
from rvq_action.data.check.pairing import pair_channels
from rvq_action.data.check.recording import Recording
from rvq_action.data.mapping import Mapping
from rvq_action.data.term import Term

END, STILL, SHORT = 0.25, 0.01, 0.04
"""Shares of the range: what counts as near an end, as standing still, as short of the target."""
MOSTLY = 0.8
"""Share of the episodes from which a start at the same end counts."""
LEAST_BLOCKED = 0.1
"""Share of the frames near an end that must be blocked there."""


@dataclass(frozen=True)
class Blocked:
    """Share of the resting frames near each end of the range that stop short of the target."""

    low: float
    high: float

    @property
    def closed_is_high(self) -> bool | None:
        """The closed end; None where the data do not tell."""
        top, other = max(self.low, self.high), min(self.low, self.high)
        return None if top < LEAST_BLOCKED or other > top / 3 else self.high > self.low


@dataclass(frozen=True)
class Gripper:
    """The action channels of one gripper (several for a hand).

    Attributes:
        name: Its name.
        feature: The action feature.
        channels: Their names in it.
        closed_is_high: What the mapping says (by default a gripper's 0 is closed); None where it
            takes them as plain numbers.
    """

    name: str
    feature: str
    channels: tuple[str, ...]
    closed_is_high: bool | None


def find_grippers(recording: Recording, mapping: Mapping | None) -> list[Gripper]:
    """Channels with the unit `gripper` in the mapping, or called so in the dataset."""
    if mapping is None:
        features = recording.action_features
        return [g for f in features for g in _called_grippers(f, recording.names[f])]
    return [g for term in mapping.action for g in _mapped_grippers(recording, mapping, term)]


def _mapped_grippers(recording: Recording, mapping: Mapping, term: Term) -> list[Gripper]:
    names = recording.names[term.feature]
    taken = tuple(names[p] for p in term.positions(recording.names.__getitem__))
    units = {mapping.layout.channels[i].unit for i in term.channels(mapping.layout)}
    if units != {"gripper"}:
        return _called_grippers(term.feature, taken)
    closed, opened = (term.closed or 0.0, term.open or 0.0)
    return [Gripper(term.target, term.feature, taken, closed > opened)]


def _called_grippers(feature: str, names: Sequence[str]) -> list[Gripper]:
    return [Gripper(n, feature, (n,), None) for n in names if "gripper" in n.lower()]


def check_grippers(recording: Recording, mapping: Mapping | None) -> list[Finding]:
    """One row per gripper."""
    found = [_gripper_finding(recording, g) for g in find_grippers(recording, mapping)]
    return found or [passed("gripper", "there is none")]


def blocked(action: list[np.ndarray], state: list[np.ndarray]) -> Blocked:
    """Where a measured gripper ([N] per episode) stops short of its target."""
    targets = np.concatenate(action)
    low, size = targets.min(), np.ptp(targets)
    if size == 0:
        return Blocked(0.0, 0.0)
    short = {"low": [], "high": []}
    for target, measured in zip(action, state, strict=True):
        still = np.zeros(len(target), dtype=bool)
        still[1:] = (np.abs(np.diff(target)) < STILL * size) & (
            np.abs(np.diff(measured)) < STILL * size
        )
        gap, place = (measured - target) / size, (target - low) / size
        short["low"].append(gap[still & (place < END)] > SHORT)
        short["high"].append(gap[still & (place > 1 - END)] < -SHORT)
    shares = {end: np.concatenate(flags) for end, flags in short.items()}
    return Blocked(
        **{end: float(flags.mean()) if len(flags) else 0.0 for end, flags in shares.items()}
    )


def _gripper_finding(recording: Recording, gripper: Gripper) -> Finding:
    row, claim = f"gripper: {gripper.name}", gripper.closed_is_high
    pairs = [p for p in pair_channels(recording, gripper.feature) if p.name in gripper.channels]
    stops = [blocked(pair.action, pair.state) for pair in pairs] or [Blocked(0.0, 0.0)]
    lows, highs = [s.low for s in stops], [s.high for s in stops]
    mean = Blocked(float(np.mean(lows)), float(np.mean(highs)))
    seen = mean.closed_is_high
    if seen is None:
        position = recording.names[gripper.feature].index(gripper.channels[0])
        series = [rows[:, position] for rows in recording.episodes_of(gripper.feature)]
        return _by_start(row, series, claim)
    end, share = ("high", mean.high) if seen else ("low", mean.low)
    message = f"{end} is closed (blocked there in {share:.0%} of the resting frames)"
    if claim is None:
        return passed(row, f"{message}; the mapping takes it as a plain number")
    if claim != seen:
        fix = "Swap `closed` and `open` in the mapping."
        return failed(row, f"{message}, but the mapping says the opposite", fix)
    return passed(row, f"{message}, as the mapping says")


def _by_start(row: str, series: list[np.ndarray], claim: bool | None) -> Finding:
    """The weak evidence: at which end of the range the episodes start."""
    values = np.concatenate(series)
    low, size = values.min(), np.ptp(values)
    if size == 0:
        return warned(row, f"never moves from {low:.3g}", "Leave it out of the mapping.")
    first = np.array([s[0] - low for s in series]) / size
    ends = {"low": float((first < END).mean()), "high": float((first > 1 - END).mean())}
    start = next((end for end, share in ends.items() if share > MOSTLY), None)
    seen = f"starts {start} in {ends[start]:.0%} of the episodes" if start else "no sign of an end"
    message = f"{low:.3g} to {low + size:.3g}, {seen}"
    if claim is None:
        fix = "Give `closed` and `open` in the mapping if the layout should know."
        return warned(row, f"{message}; neither data nor mapping say which end is closed", fix)
    closed = "high" if claim else "low"
    if start == closed:
        fix = "Look at a first picture: if the gripper is open there, swap `closed` and `open`."
        return warned(row, f"{message}, the end that the mapping calls closed", fix)
    return passed(row, f"{message}; nothing speaks against {closed} being closed")
