"""Limiter: nothing out of limits ever leaves.

Every command passes here on its way to the robot. Values and boxes come first, then velocity, then
acceleration: where a command is a position all of them always hold, since the speed is kept such
that the robot can brake in time. What is commanded by rates is where it is measured to be, which
may be too near to a wall to brake gently: then it brakes hard.

What comes out is looked at once more: a command that is no number is refused, and forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rvq_action.layout import ActionLayout
from vla.deploy.safety.hands import all_within
from vla.deploy.safety.limit_table import LimitTable
from vla.deploy.safety.limits import Limits
from vla.deploy.safety.slew import Motion, Turning

TOLERANCE = 1e-6
"""Relative change of a command below which it counts as unchanged."""

STRAY = 0.01
"""So far outside its limits a channel may be when a run begins: a share of what lies between them,
of the limit itself where there is but one."""

STRAY_M = 0.005
"""So far outside its box a hand may be when a run begins."""


class LimitViolation(ValueError):
    """A command that may not be sent, where limits stop the robot."""


@dataclass(frozen=True)
class LimitedCommand:
    """What may be sent.

    Attributes:
        values: float64 [D].
        clipped: Names of the channels in which it is not what was asked for.
    """

    values: np.ndarray
    clipped: tuple[str, ...]


class Limiter:
    """The limits of one robot, and what it was last told.

    Args:
        limits: The limits.
        layout: Of the commands.
        rate: Commands per second.
        speed: Fraction of full speed: low-speed mode below 1.

    Raises:
        ValueError: The limits do not fit the layout.
    """

    def __init__(
        self, limits: Limits, layout: ActionLayout, rate: float, speed: float = 1.0
    ) -> None:
        self.table = LimitTable.build(limits, layout).slowed(speed)
        self.period = 1.0 / rate
        self._stops = limits.on_violation == "stop"
        self._motion: Motion | None = None
        self._turning: dict[str, Turning] = {}
        self._underway = self.table.reach.at_rest(self.period)

    def start(self, proprio: np.ndarray) -> None:
        """Begin at rest where the robot stands.

        Args:
            proprio: [D] physical units; NaN where the robot does not know.

        Raises:
            LimitViolation: It stands outside its limits: by more than it may move in one period, or
                by more than `STRAY`. Or it does not know the place of a channel or rotation whose
                speed is limited, where nothing would limit the way to its first command, or that of
                a rate whose position is limited. One of those may stand outside: it may come back.
        """
        measured = np.asarray(proprio, dtype=np.float64)
        self._check_measured(measured)
        table, at = self.table, np.where(self.table.rates, 0.0, measured)
        self._check_known(at)
        inside = table.nearest(at)
        span = table.high - table.low
        stray = STRAY * np.where(np.isfinite(span), span, np.abs(inside))
        far = np.abs(at - inside) > np.minimum(table.velocity * self.period, stray)
        if far.any():
            raise LimitViolation(
                f"The robot stands outside its limits: {self._list(far, at, inside)}. Bring it "
                "back by hand, or correct the limits."
            )
        for hand in table.hands:
            if not hand.excess(inside) <= STRAY_M:
                raise LimitViolation(
                    f"The hand {hand.hand.link!r} is at {np.round(hand.position(inside), 3)} m, "
                    f"outside its box {hand.hand.low} to {hand.hand.high}. Bring it back by hand, "
                    "or correct the box."
                )
        if self._motion is None:
            self._underway = table.reach.at_rest(self.period)
        self._motion = Motion.at_rest(inside)
        self._turning = {turn.part: Turning.at_rest(at[turn.block]) for turn in table.turns}

    def limit(self, command: np.ndarray, proprio: np.ndarray) -> LimitedCommand:
        """The command as it may be sent; it counts as sent.

        Args:
            command: [D] physical units, absolute.
            proprio: [D], now.

        Raises:
            LimitViolation: It is NaN or infinite, or out of limits that stop the robot.
            FloatingPointError: No number came out for a channel; nothing counts as sent.
        """
        asked = np.asarray(command, dtype=np.float64)
        if asked.shape != self.table.low.shape or not np.isfinite(asked).all():
            raise LimitViolation(f"A command must be {len(self.table.names)} finite numbers.")
        if self._motion is None:
            self.start(proprio)
        assert self._motion is not None
        wanted = self.table.nearest(asked)
        motion = self._known(self._motion, wanted)
        moved = motion.towards(wanted, self.table, self.period)
        turning = dict(self._turning)
        values = self._in_reach(moved.value, np.asarray(proprio, dtype=np.float64))
        is_braked = values != moved.value
        values = all_within(self.table.hands, motion.value, values)
        for turn in self.table.turns:
            before = turning[turn.part]
            turning[turn.part] = before.towards(wanted[turn.block], turn.limits, self.period)
            values[turn.block] = turning[turn.part].rot6d
        self._check_numbers(values)
        changed = np.abs(values - asked) > TOLERANCE * (1 + np.abs(asked))
        if self._stops and changed.any():
            raise LimitViolation(
                f"A command is out of limits: {self._list(changed, asked, values)}."
            )
        velocity = np.where(is_braked, 0.0, (values - motion.value) / self.period)
        self._motion, self._turning = Motion(values, velocity, wanted), turning
        self._underway = self.table.reach.after(self._underway, values, self.period)
        return LimitedCommand(values, tuple(self._names(changed)))

    def rest(self) -> np.ndarray | None:
        """What holds the robot where it was last told to be: float64 [D], velocities 0.

        From here on it counts as being at rest there. None before the first command.
        """
        if self._motion is None:
            return None
        held = np.where(self.table.rates, 0.0, self._motion.value)
        self._motion = Motion.at_rest(held)
        self._turning = {t.part: Turning.at_rest(held[t.block]) for t in self.table.turns}
        return held

    def coast(self) -> None:
        """Nobody has told the robot anything for a while: what was told where to be rests there,
        what was told its speed goes on at it."""
        if self._motion is not None:
            values = self._motion.value
            self.rest()
            self._motion = Motion.at_rest(values)

    def _check_known(self, at: np.ndarray) -> None:
        table = self.table
        is_slow = np.isfinite(table.velocity) | np.isfinite(table.acceleration)
        for turn in table.turns:
            is_slow[turn.block] = True
        if (lost := is_slow & np.isnan(at)).any():
            raise LimitViolation(
                f"The robot does not say where {self._names(lost)} are, so that nothing would "
                "limit the way to their first command. Have it tell them, or do not limit their "
                "speed."
            )

    def _known(self, motion: Motion, wanted: np.ndarray) -> Motion:
        """Where the robot does not tell a channel's value, it starts where it is first wanted:
        one that may be as fast as it likes."""
        unknown = np.isnan(motion.value)
        if not unknown.any():
            return motion
        parts = motion.value, motion.velocity, motion.target
        begins = wanted, np.zeros_like(wanted), wanted
        return Motion(*(np.where(unknown, b, p) for b, p in zip(begins, parts, strict=True)))

    def _in_reach(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Values [D] whose rates keep the robot where it may be."""
        self._check_measured(at)
        table = self.table
        return table.reach.within(values, at, self._underway, table.velocity, self.period)

    def _check_measured(self, at: np.ndarray) -> None:
        if (lost := self.table.reach.is_bound & ~np.isfinite(at)).any():
            raise LimitViolation(
                f"The position of {self._names(lost)} is not known, but limited. Have the "
                "robot tell it: the mapping's `proprio` fills these channels with positions."
            )

    def _check_numbers(self, values: np.ndarray) -> None:
        if (lost := ~np.isfinite(values)).any():
            raise FloatingPointError(
                f"No number came out of the limits for {self._names(lost)}: the state is far from "
                "anything physical."
            )

    def _names(self, where: np.ndarray) -> list[str]:
        return np.array(self.table.names)[where].tolist()

    def _list(self, where: np.ndarray, found: np.ndarray, allowed: np.ndarray) -> str:
        named = zip(self.table.names, found, allowed, where, strict=True)
        return ", ".join(f"{n} {x:.6g} (nearest allowed: {a:.6g})" for n, x, a, out in named if out)
