"""Stance: the command that keeps a robot where it is."""

from __future__ import annotations

import numpy as np

from rvq_action.layout import ActionLayout
from vla.deploy.safety.rates import rate_channels


class Stance:
    """What it was told last, its velocities 0; until then where it stood when it was first held.

    To tell a robot again and again where it is measured lets it sink: under load it always stands
    a little below what it was told.

    Args:
        layout: Of its commands and its state.
    """

    def __init__(self, layout: ActionLayout) -> None:
        self._rates = rate_channels(layout)
        self._rest = np.where(self._rates, 0.0, np.nan)
        self._is_settled = False

    def saw(self, proprio: np.ndarray) -> None:
        """Where it says that it is, [D]; believed where that is known of every place."""
        rest = self._at_rest(proprio)
        if not self._is_settled and np.isfinite(rest).all():
            self._rest = rest

    def told(self, command: np.ndarray) -> None:
        """What it was told, [D]."""
        self._rest, self._is_settled = self._at_rest(command), True

    def rest(self) -> np.ndarray:
        """float64 [D]; NaN in all places where it was neither told one nor said its own."""
        self._is_settled = self._is_settled or bool(np.isfinite(self._rest).all())
        return self._rest

    def _at_rest(self, values: np.ndarray) -> np.ndarray:
        return np.where(self._rates, 0.0, np.asarray(values, dtype=np.float64))
