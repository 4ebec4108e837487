"""Channels that are velocities: a robot that holds has 0 in them, and in the others what it had."""

from __future__ import annotations

import numpy as np

from rvq_action.layout import ActionLayout

SUFFIX = "/s"
"""Of the unit of a velocity."""


def rate_channels(layout: ActionLayout) -> np.ndarray:
    """bool [D]."""
    return np.array([channel.unit.endswith(SUFFIX) for channel in layout.channels])
