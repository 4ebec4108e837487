"""What error a chunk may keep: a mean squared one in model or scored space, or physical limits."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from rvq_action.inputs import read_positive
from rvq_action.layout import ROTATION_UNIT, ActionLayout

AnyTolerance = float | Mapping[str, float]
"""A number bounds the mean squared error of a chunk in model space. A mapping bounds by name, and
all its bounds hold together: the largest error of any real frame by channel group, in the group's
unit (rotations in rad), and as `scored` the mean squared error in scored space, in which
`rvq-analysis compare` tells errors (by the tokenizer's own statistics: see `rvq_action.normalize`).
"""
SCORED = "scored"
MEANING = "a positive mean squared error in {} space"
SHOWN = "rad"
"""The unit of a rotation's error."""


class ToleranceWarning(UserWarning):
    """Chunks keep a larger error than was asked for, with all the tokens that they may have."""


@dataclass(frozen=True)
class Tolerance:
    """What is given holds, all of it; one at least is.

    Attributes:
        mse: Mean squared error of a chunk in model space, where rare large values are compressed.
        scored: Mean squared error of a chunk in scored space, where they are clipped.
        largest: Largest error of a chunk by channel group, in the group's unit; rotations in rad.
    """

    mse: float | None = None
    scored: float | None = None
    largest: dict[str, float] = field(default_factory=dict)


def read_tolerance(value: AnyTolerance, layout: ActionLayout) -> Tolerance:
    """A number for model space, or a mapping from `scored` and channel groups to numbers.

    A group is named in full (`left_arm/position`) or by its quantity (`position`, of all parts);
    where both name it the full name decides.

    Raises:
        ValueError: A number that is not positive and finite, a group that the layout lacks, or
            `scored` where that may also be one of its groups.
    """
    if not isinstance(value, Mapping):
        return Tolerance(mse=read_positive(value, "tolerance", MEANING.format("model")))
    if not value:
        raise ValueError("tolerance names no channel group; None emits all codes.")
    scored, limits = None, {}
    for name in sorted(value, key=lambda name: name in layout.groups):
        groups = [g for g in layout.groups if name in (g, g.split("/")[-1])]
        if name == SCORED:
            _check_free(groups, layout)
            meaning = MEANING.format(SCORED)
            scored = read_positive(value[name], f"tolerance[{name!r}]", meaning)
        else:
            meaning = f"a positive number of {_unit(name, groups, layout)}"
            limit = read_positive(value[name], f"tolerance[{name!r}]", meaning)
            limits |= dict.fromkeys(groups, limit)
    return Tolerance(None, scored, limits)


def _check_free(groups: Sequence[str], layout: ActionLayout) -> None:
    """Refuse `scored` where it names channel groups as well."""
    if groups:
        raise ValueError(
            f"tolerance names {SCORED!r}, which is scored space, but in layout {layout.name!r} "
            f"also channel group {', '.join(groups)}. Name the group in full, as part/quantity, "
            "to bound it; give it another name to bound scored space."
        )


def _unit(name: str, groups: Sequence[str], layout: ActionLayout) -> str:
    """The unit of the groups that a name names."""
    known = group_units(layout)
    if not groups:
        named = ", ".join(f"{group} [{unit}]" for group, unit in known.items())
        raise ValueError(
            f"tolerance names {name!r}, but layout {layout.name!r} has the channel groups "
            f"{named}. Name one of them, its last word for all that end in it, or {SCORED!r} for "
            "the error in scored space."
        )
    units = {known[group] for group in groups}
    if len(units) > 1 or "" in units:
        raise ValueError(
            f"tolerance names {name!r}, whose channels do not share a unit in layout "
            f"{layout.name!r}. Name one group of one unit."
        )
    return units.pop()


def group_units(layout: ActionLayout) -> dict[str, str]:
    """The unit in which each channel group's error is told; empty where its channels differ."""
    found = {g: {layout.channels[i].unit for i in ix} for g, ix in layout.groups.items()}
    shared = {group: units.pop() if len(units) == 1 else "" for group, units in found.items()}
    return {group: SHOWN if unit == ROTATION_UNIT else unit for group, unit in shared.items()}


class ToleranceWatch:
    """Warns once of an embodiment's chunks that cannot be brought within a tolerance."""

    def __init__(self) -> None:
        self.warned = False

    def look(self, reached: Tensor, tokens: int) -> None:
        """Look at what was reached.

        Args:
            reached: bool [B], whether a chunk is within its tolerance.
            tokens: That it could have.
        """
        missed = int((~reached).sum())
        if self.warned or not missed:
            return
        self.warned = True
        warnings.warn(
            f"{missed} of {len(reached)} chunks are not within the tolerance even with {tokens} "
            "tokens, which they keep. `tokenizer.fidelity(actions, codes, ...)` tells how far each "
            "is off; allow more error or tokens, or train a tokenizer with more of them.",
            ToleranceWarning,
            stacklevel=3,
        )
