"""Two tasks that nothing but the instruction tells apart: does a policy listen?

In front of a puck and a goal marker one may push the puck or reach with the hand. Meta-World paints
the markers of its tasks in colours of their own, and reaching has its goals in the air, pushing on
the table. Here both have the marker and the goals of pushing: from one seed both begin with the
very same picture.
"""

from __future__ import annotations

from typing import Any

LOOK_ALIKE = ("reach-v3", "push-v3")
GOAL_COLOUR = (0.0, 0.8, 0.0, 1.0)
GOAL_X, GOAL_Y = (-0.1, 0.1), (0.8, 0.9)
"""Where goals are drawn from, in m."""
RESTING = 0.019404678
"""Height of the puck's centre when it lies on the table, in m, to which pushing puts its goals."""


def check_look_alike(task: str) -> None:
    """Refuse a task that has neither puck nor goal marker in common with others.

    Raises:
        ValueError: Names those that have.
    """
    if task not in LOOK_ALIKE:
        raise ValueError(
            f"{task} cannot look like another task; only {' and '.join(LOOK_ALIKE)} can."
        )


def disguise(environment: Any) -> None:
    """Give one of Meta-World's environments the marker, goals and puck that all of them have."""
    environment.model.site("goal").rgba = GOAL_COLOUR
    space = environment._random_reset_space
    for end, bound in enumerate((space.low, space.high)):
        bound[2:] = RESTING, GOAL_X[end], GOAL_Y[end], RESTING
