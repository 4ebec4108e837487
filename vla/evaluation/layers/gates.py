"""Gates: what a layer must show before the next one is tried, and whether it did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Gates:
    """Bounds, all shares or ratios.

    Attributes:
        outside: Layer 1: most predicted values outside the training range.
        unusual: Layers 1 and 2: most values of state and recorded actions that are far from
            anything seen in training, as those of another robot or in other units are.
        against_holding: Layer 2: largest error, relative to that of a robot that holds.
        saturation: Layer 2: most predicted values at the edge of the training range, beyond the
            share of recorded ones that are there.
        missed: Layers 3 and 4: most control periods that missed their deadline.
        refused: Layers 3 and 4: most chunks that were unusable or came too late.
        clipped: Layers 3 and 4: most commands that limits had to change.
        held: Layers 3 and 4: most periods of a trial, from its first chunk on, in which the robot
            was held; a receding horizon holds it while it plans.
        faults: Layers 3 and 4: most of them in which it was held because something was wrong.
        low_speed_success: Layer 3: least share of trials that are solved.
        success: Layer 4: least share of trials that are solved.
    """

    outside: float = 0.0
    unusual: float = 0.05
    against_holding: float = 1.0
    saturation: float = 0.2
    missed: float = 0.05
    refused: float = 0.05
    clipped: float = 0.5
    held: float = 0.5
    faults: float = 0.05
    low_speed_success: float = 0.0
    success: float = 0.5

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"gates.{name} is a share from 0 to 1, got {value}.")


@dataclass(frozen=True)
class Check:
    """One figure against its bound.

    Attributes:
        name: What was looked at.
        passed: Whether it is as it must be.
        detail: The figure and the bound, in words.
    """

    name: str
    passed: bool
    detail: str

    @classmethod
    def at_most(cls, name: str, value: float, bound: float) -> Check:
        """A figure that must not exceed its gate; one that is none never passes."""
        return cls(name, value <= bound, f"{value:.4g}, at most {bound:g}")

    @classmethod
    def at_least(cls, name: str, value: float, bound: float) -> Check:
        """A figure that must reach its gate; one that is none never passes."""
        return cls(name, value >= bound, f"{value:.4g}, at least {bound:g}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)
