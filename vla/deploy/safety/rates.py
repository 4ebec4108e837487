"""Channels that are velocities: a robot that holds has 0 in them, and in the others what it had."""

from __future__ import annotations

import numpy as np

from rvq_action.layout import ActionLayout, Channel

SUFFIX = "/s"
"""Of the unit of a velocity."""
OWN_UNIT = "own unit"


def rate_channels(layout: ActionLayout) -> np.ndarray:
    """bool [D]."""
    return np.array([is_rate(channel) for channel in layout.channels])


def is_rate(channel: Channel) -> bool:
    """Whether a channel is commanded by a velocity."""
    return channel.unit.endswith(SUFFIX)


def state_unit(channel: Channel) -> str:
    """Of the state that stands beside a command; of a velocity's nobody says, often it is a place.

    Meta-World's hand is told m/s and says m.
    """
    return OWN_UNIT if is_rate(channel) else channel.unit
