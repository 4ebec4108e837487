"""Does the state say where a robot is in the channels whose positions are limited?"""

from __future__ import annotations

import re

import numpy as np

from rvq_action.data.mapping import Mapping
from rvq_action.data.term import Term
from vla.deploy.safety.limit_table import reach_of
from vla.deploy.safety.limits import Limits
from vla.deploy.safety.rates import SUFFIX

SPEED_WORDS = {"vel", "velocity", "velocities", "speed"}
"""Of names of numbers that are no positions."""


def check_measured(limits: Limits, mapping: Mapping) -> None:
    """Refuse limits of positions that the mapping does not read.

    Raises:
        ValueError: `proprio` does not fill a channel whose position is limited, or fills it with a
            speed, by the unit or the name that it is given there.
    """
    layout = mapping.layout
    filled = {channel: term for term in mapping.proprio for channel in term.channels(layout)}
    for index in np.flatnonzero(reach_of(limits, layout).is_bound).tolist():
        channel, term = layout.channels[index], filled.get(index)
        if term is None:
            wrong = "does not fill it"
        elif speed := _speed(term, term.channels(layout).index(index), mapping):
            wrong = f"reads it from {speed}, which is a speed"
        else:
            continue
        raise ValueError(
            f"The position of {channel.name!r} is limited, but `proprio` of the mapping of "
            f"{mapping.embodiment!r} {wrong}. Fill {channel.name!r} there with the position, in "
            f"{channel.unit.removesuffix(SUFFIX)} (`scale` converts), or limit its speed alone."
        )


def _speed(term: Term, place: int, mapping: Mapping) -> str:
    """What says that a term's number is a speed; empty where nothing does."""
    if term.unit is not None and term.unit.endswith(SUFFIX):
        return f"a number in {term.unit!r}"
    taken = place if term.take is None else term.take[place]
    names = mapping.columns.get(term.feature, ())
    name = names[taken] if isinstance(taken, int) and taken < len(names) else str(taken)
    words = set(re.split(r"[^a-z]+", f"{term.feature} {name}".lower()))
    return repr(name) if words & SPEED_WORDS else ""
