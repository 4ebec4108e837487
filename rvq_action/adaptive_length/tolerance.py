"""What error a chunk may keep: a mean squared error in model space, or limits in physical units."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from rvq_action.inputs import read_positive
from rvq_action.layout import ROTATION_UNIT, ActionLayout

AnyTolerance = float | Mapping[str, float]
MEANING = "a positive mean squared error in model space"
SHOWN = "rad"
"""The unit of a rotation's error."""


class ToleranceWarning(UserWarning):
    """Chunks keep a larger error than was asked for, with all the tokens that they may have."""


@dataclass(frozen=True)
class Tolerance:
    """One of the two is given.

    Attributes:
        mse: Mean squared error of a chunk in model space, where rare large values are compressed:
            not in the space that scores are told in, nor in physical units.
        largest: Largest error of a chunk by channel group, in the group's unit; rotations in rad.
    """

    mse: float | None
    largest: dict[str, float]


def read_tolerance(value: AnyTolerance, layout: ActionLayout) -> Tolerance:
    """A number, or a mapping from channel groups to numbers.

    A group is named in full (`left_arm/position`) or by its quantity (`position`, of all parts);
    where both name it the full name decides.

    Raises:
        ValueError: A number that is not positive and finite, or a group that the layout lacks.
    """
    if not isinstance(value, Mapping):
        return Tolerance(read_positive(value, "tolerance", MEANING), {})
    if not value:
        raise ValueError("tolerance names no channel group; None emits all codes.")
    known = group_units(layout)
    limits: dict[str, float] = {}
    for name in sorted(value, key=lambda name: name in known):
        groups = [g for g in known if name in (g, g.split("/")[-1])]
        if not groups:
            named = ", ".join(f"{group} [{unit}]" for group, unit in known.items())
            raise ValueError(
                f"tolerance names {name!r}, but layout {layout.name!r} has the channel groups "
                f"{named}. Name one of them, or its last word for all that end in it."
            )
        units = {known[group] for group in groups}
        if len(units) > 1 or "" in units:
            raise ValueError(
                f"tolerance names {name!r}, whose channels do not share a unit in layout "
                f"{layout.name!r}. Name one group of one unit."
            )
        meaning = f"a positive number of {units.pop()}"
        limit = read_positive(value[name], f"tolerance[{name!r}]", meaning)
        limits |= dict.fromkeys(groups, limit)
    return Tolerance(None, limits)


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
