"""The dataset through its mapping: does one apply, and does it do justice to the numbers?"""

from __future__ import annotations

import numpy as np

from rvq_action.data.check.finding import Finding, failed, listed, passed, warned
from rvq_action.data.check.lag import CLEAR, VELOCITY, follow
from rvq_action.data.check.lengths import WINDOW_S
from rvq_action.data.check.pairing import pair_channels
from rvq_action.data.check.recording import Recording, one_line
from rvq_action.data.episode import Episode
from rvq_action.data.mapping import Mapping
from rvq_action.layout import ROTATION_UNIT, DeltaRule

WEAK = 0.1
"""A weak channel's motion, as a share of the largest with the same unit."""


def apply_mapping(recording: Recording, mapping: Mapping) -> tuple[list[Episode] | None, Finding]:
    """The episodes in the mapping's layout; None where it does not fit."""
    layout = mapping.layout
    try:
        episodes = [
            _episode(recording, position, mapping) for position in range(len(recording.indices))
        ]
    except (ValueError, KeyError) as error:
        fix = "Correct the mapping, or give another one with --mapping."
        return None, failed("mapping: fit", one_line(error), fix)
    filled, anchored = int(episodes[0].mask.sum()), int(episodes[0].proprio_mask.sum())
    message = f"{mapping.embodiment}: {filled} of the {layout.width} channels of {layout.name}"
    return episodes, passed("mapping: fit", f"{message}, an anchor for {anchored}")


def channel_groups(recording: Recording, mapping: Mapping, feature: str) -> dict[str, list[str]]:
    """Which channels of an action feature belong together, as the mapping says."""
    names = recording.names
    return {
        term.target: [names[feature][p] for p in term.positions(names.__getitem__)]
        for term in mapping.action
        if term.feature == feature
    }


def columns_by_use(recording: Recording, mapping: Mapping) -> tuple[set[str], set[str]]:
    """Columns (`feature channel`) the mapping reads as rotations, and as plain numbers."""
    rotations, numbers = set(), set()
    for term in (*mapping.action, *mapping.proprio):
        names = recording.names[term.feature]
        taken = {f"{term.feature} {names[p]}" for p in term.positions(recording.names.__getitem__)}
        (numbers if term.rotation is None else rotations).update(taken)
    return rotations, numbers


def check_delta_rules(recording: Recording, mapping: Mapping) -> Finding:
    """Whether an anchor is subtracted from what turns out to be a velocity."""
    name, wrong = "mapping: delta rules", []
    for term in mapping.action:
        rules = {mapping.layout.channels[i].delta for i in term.channels(mapping.layout)}
        if rules == {DeltaRule.RAW} or term.feature not in recording.action_features:
            continue
        used = {
            recording.names[term.feature][p] for p in term.positions(recording.names.__getitem__)
        }
        pairs = [p for p in pair_channels(recording, term.feature) if p.name in used]
        follows = [follow(pair, recording.fps) for pair in pairs]
        wrong += [f.name for f in follows if f.kind is VELOCITY and f.correlation >= CLEAR]
    if wrong:
        fix = "A velocity has no origin: give these channels `delta: raw` in the mapping."
        return failed(name, f"the anchor is subtracted from velocities: {listed(wrong)}", fix)
    return passed(name, "they fit what action and state are")


def check_weak(episodes: list[Episode]) -> Finding:
    """Channels that hardly move within a window, beside others of the same unit."""
    first, weak = episodes[0], []
    layout, horizon = first.layout, max(1, round(WINDOW_S * first.fps))
    for unit in dict.fromkeys(c.unit for c in layout.channels):
        same = [i for i, c in enumerate(layout.channels) if c.unit == unit and first.mask[i]]
        if unit == ROTATION_UNIT or len(same) < 2:
            continue
        motion = _motion([e.actions[:, same] for e in episodes], unit.endswith("/s"), horizon)
        weak += [
            layout.names[i] for i, m in zip(same, motion, strict=True) if m < WEAK * motion.max()
        ]
    if weak:
        return warned(
            "channels: weak",
            f"move less than a tenth of the strongest within {WINDOW_S:g} s: {listed(weak)}",
            "Normalisation blows their drift up to the size of real motion and they cost tokens: "
            "leave them out of the mapping where the task does not need them.",
        )
    return passed("channels: weak", "no channel moves far less than the others")


def _episode(recording: Recording, position: int, mapping: Mapping) -> Episode:
    columns, names = recording.columns[position], recording.names.__getitem__
    actions, proprio = mapping.read_actions(columns, names), mapping.read_proprio(columns, names)
    task, index = next(iter(recording.tasks[position]), ""), recording.indices[position]
    about = (index, task, recording.fps, mapping.embodiment, mapping.layout)
    return Episode(*about, *actions, *proprio)


def _motion(episodes: list[np.ndarray], velocity: bool, horizon: int) -> np.ndarray:
    """Root mean square [D] of velocities, or of the way made within a window."""
    horizon = min(horizon, max(map(len, episodes)) - 1)
    long = [a for a in episodes if len(a) > horizon]
    steps = [a if velocity or horizon == 0 else a[horizon:] - a[:-horizon] for a in long]
    return np.sqrt(np.mean(np.concatenate(steps) ** 2, axis=0))
