"""Whether LeRobot recorded joints in percent of their calibrated range or in degrees.

No dataset says which (`use_degrees`), and an arm that is told the one as the other moves elsewhere.
The numbers may tell:

- A measured joint beyond ±100 is in degrees: LeRobot cuts percent off there.
- So are measured joints that all lie on whole or half steps of the motors' encoders, 4095 a turn:
  LeRobot counts degrees from the middle of a range, which may be half a step.
- A joint that ends at exactly ±100, where percent is cut off, is in percent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.mapping import Mapping
from rvq_action.data.term import Names, Term
from rvq_action.layout import ActionLayout

PERCENT = "normalized"
DEGREES = ("deg", "degrees")
"""A mapping's words for the two."""
END = 100.0
STEP = 180 / 4095
SLACK = 0.01
"""Share of a step: float32 keeps a position to a thousandth of one."""
LEAST = 4
"""Extremes that have to lie on steps; of those in percent one in fifty does by chance."""

Extremes = Callable[[str], np.ndarray]
"""From a feature to the least and largest of its W numbers, [2, W]."""


class End(NamedTuple):
    """The least or largest value that a joint has in a dataset."""

    name: str
    value: float


class Told(NamedTuple):
    """What the numbers tell: whether joints are in degrees, and why."""

    in_degrees: bool
    why: str


def told_unit(mapping: Mapping, names: Names, extremes: Extremes) -> Told | None:
    """What a dataset's numbers tell of the unit of the joints that a mapping reads.

    Args:
        mapping: One that reads joints, in either unit.
        names: Names of a feature's numbers.
        extremes: Of the dataset.

    Returns:
        None where the numbers do not tell.
    """
    state = joint_ends(mapping.proprio, mapping.layout, names, extremes)
    if far := beyond(state):
        return Told(True, f"{far} in the state, and percent ends at ±100")
    if _on_steps(state):
        return Told(True, "the state counts the encoders' steps in degrees")
    action = joint_ends(mapping.action, mapping.layout, names, extremes)
    for name, value in (*state, *action):
        if abs(value) == END:
            return Told(False, f"{name} ends at exactly {value:g}, where percent is cut off")
    return None


def counts_degrees(mapping: Mapping) -> bool:
    """Whether a mapping reads joints in degrees."""
    units = {unit for term in mapping.action for unit in _units(term, mapping.layout)}
    return not units.isdisjoint(DEGREES)


def joint_ends(
    terms: Iterable[Term], layout: ActionLayout, names: Names, extremes: Extremes
) -> list[End]:
    """Both extremes of every joint that is read in percent or in degrees."""
    found = []
    for term in terms:
        if places := _joints(term, layout, names):
            known, ends = names(term.feature), extremes(term.feature)
            found += [End(known[i], float(value)) for i in places for value in ends[:, i]]
    return found


def beyond(ends: Iterable[End]) -> str:
    """The joint that is farthest beyond ±100, in words; empty where none is."""
    name, value = max(ends, key=lambda end: abs(end.value), default=End("", 0.0))
    return f"{name} reaches {value:.4g}" if abs(value) > END + SLACK else ""


def stored_extremes(reader: LeRobotReader) -> Extremes:
    """Those of a dataset, as its statistics have them, or else its rows."""

    def of(feature: str) -> np.ndarray:
        try:
            stored = reader.statistics[feature]
            return np.stack([stored["min"], stored["max"]]).reshape(2, -1)
        except (OSError, ValueError, KeyError):
            return extremes_of(reader.episode(i)[feature] for i in range(reader.num_episodes))

    return of


def extremes_of(episodes: Iterable[np.ndarray]) -> np.ndarray:
    """[2, W] of arrays [N, W] (or [N])."""
    rows = np.concatenate([e.reshape(len(e), -1) for e in episodes])
    return np.stack([rows.min(0), rows.max(0)])


def _on_steps(ends: Iterable[End]) -> bool:
    """Whether values lie on the encoders' steps; whole numbers, which may be anything, aside."""
    values = np.array(sorted({value for _, value in ends if value != round(value)}))
    steps = values / STEP
    return len(values) >= LEAST and bool((np.abs(steps - steps.round()) < SLACK).all())


def _joints(term: Term, layout: ActionLayout, names: Names) -> list[int]:
    """Places of the joints in the feature's rows."""
    pairs = zip(term.positions(names), _units(term, layout), strict=False)
    return [place for place, unit in pairs if unit in (PERCENT, *DEGREES)]


def _units(term: Term, layout: ActionLayout) -> list[str]:
    """The dataset's unit of every number; none of rotations and of what has a scale of its own."""
    if term.rotation is not None or any(abs(factor) != 1 for factor in term.scale):
        return []
    return [term.unit or layout.channels[i].unit for i in term.channels(layout)]
