"""What is to be looked at before a robot moves, as a table, and whoever says that it may."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vla.deploy.drive.sources import NotDriven
from vla.deploy.policies.policy import PolicyDescription
from vla.deploy.robots.protocol import Robot, RobotDescription, RobotObservation
from vla.deploy.safety.checks import ObservationChecks
from vla.deploy.safety.estop import SIGNALS
from vla.deploy.safety.keys import terminal_number
from vla.deploy.safety.limiter import Limiter, LimitViolation
from vla.deploy.safety.rates import SUFFIX, is_rate
from vla.deploy.settings import DeploymentSettings

DARK, BLANK = 8.0, 2.0
"""A picture's mean and spread, of 255, below which nothing is to be seen on it."""
SHARED = (
    "the policy computes in this process, where it can keep watchdog and emergency stop waiting. "
    "Give it one of its own: rvq-vla serve, and here --policy ws://127.0.0.1:8000"
)
COLUMNS = ("channel", "unit", "now", "seen in training", "limits", "per second", "per second²")
ROW = "{:<20} {:<11} {:>9}  {:<20} {:<20} {:>11} {:>12}"


@dataclass(frozen=True)
class Preflight:
    """Everything that is known before a run.

    Attributes:
        robot: The robot.
        policy: Who is to drive it.
        settings: How.
        is_real: Whether something may break.
        seen: float [2, D], the lowest and highest state in training; None: not known.
        is_here: Whether the policy's network computes in this process.
        strict: Whether a state unlike any in training keeps the robot from moving.
    """

    robot: RobotDescription
    policy: PolicyDescription
    settings: DeploymentSettings
    is_real: bool
    seen: np.ndarray | None = None
    is_here: bool = False
    strict: bool = False

    def lines(self, now: RobotObservation) -> Iterator[str]:
        """The table."""
        robot, policy, settings = self.robot, self.policy, self.settings
        kind = "real" if self.is_real else "simulated or recorded"
        yield f"robot          {robot.embodiment}, {kind}, commanded at {robot.rate:g} Hz"
        meets = "" if policy.fps == robot.rate else ", interpolated to the robot's rate"
        length = policy.horizon / policy.fps
        yield f"policy         {policy.horizon} frames at {policy.fps:g} Hz ({length:g} s){meets}"
        yield f"normalisation  key {policy.embodiment!r}"
        yield f"instruction    {settings.instruction}"
        yield f"schedule       {settings.schedule.mode}, at most {settings.seconds:g} s"
        slow = "" if settings.speed < 1 else ": FULL SPEED"
        yield f"speed          {settings.speed:g} of full speed{slow}"
        for name in robot.cameras:
            yield f"camera         {name}: {_view(now.images[name])}{self._used(name)}"
        for hand in self._limiter.table.hands:
            at, box = np.round(hand.position(now.proprio), 3), (hand.hand.low, hand.hand.high)
            yield f"hand           {hand.hand.link} at {at} m, kept within {box[0]} .. {box[1]}"
        yield from self._places(now)
        yield f"recording      {settings.record or 'none'}"
        yield f"stop it by     {stops(settings.keys)}"
        if self.seen is None:
            yield "training       seen there: not known here; hold `now` against recordings"
        yield ROW.format(*COLUMNS)
        yield from self._channels(now)
        if self._limiter.table.rates.any():
            yield "* beside a velocity: the state, in its own unit, as recordings have it"

    def problems(self, now: RobotObservation) -> list[str]:
        """Why it must not move."""
        safety = self.settings.safety
        checks = ObservationChecks(self.robot, safety.stale_observation_s, safety.frozen_camera_s)
        if wrong := checks.problem(now, now.time):
            return [wrong]
        if self.is_real and (unknown := self._unknown(now.proprio)):
            return [f"the robot does not say where {unknown} are: nothing can lead there slowly"]
        try:
            self._limiter.start(now.proprio)
        except LimitViolation as error:
            return [str(error)]
        return self._unlike_training(now.proprio) if self.strict else []

    def warnings(self, now: RobotObservation) -> list[str]:
        """What should be looked at again."""
        found = [
            f"the camera {name!r} shows nothing: is its lens covered, is the light on?"
            for name, image in now.images.items()
            if image.mean() < DARK or image.std() < BLANK
        ]
        found += self._unlike_training(now.proprio)
        if strays := self._strays(now.proprio):
            found.append(
                f"{', '.join(strays)}: outside the limits of the position, may only go back"
            )
        if self.is_real and (free := self._unlimited()):
            found.append(f"nothing limits the place, speed or acceleration of {', '.join(free)}")
        if self.is_real and self.is_here:
            found.append(SHARED)
        return found

    @property
    def _limiter(self) -> Limiter:
        return Limiter(self.robot.limits, self.robot.layout, self.robot.rate, self.settings.speed)

    def _used(self, camera: str) -> str:
        own = [name for name, other in self.policy.cameras.items() if other == camera]
        return f", the policy's {own[0]!r}" if own else ", not used by the policy"

    def _channels(self, now: RobotObservation) -> Iterator[str]:
        table = self._limiter.table
        for index, channel in enumerate(self.robot.layout.channels):
            mark = "*" if is_rate(channel) else ""
            seen = "not known" if self.seen is None else _range(*self.seen[:, index]) + mark
            limits = _range(table.low[index], table.high[index])
            rates = (_number(v[index]) for v in (table.velocity, table.acceleration))
            state = _number(float(now.proprio[index])) + mark
            yield ROW.format(channel.name, channel.unit, state, seen, limits, *rates)

    def _places(self, now: RobotObservation) -> Iterator[str]:
        """Where channels are that are told their speeds, as a ruler would find them."""
        reach = self._limiter.table.reach
        for index in np.flatnonzero(reach.is_bound):
            channel = self.robot.layout.channels[index]
            at = f"{_number(float(now.proprio[index]))} {channel.unit.removesuffix(SUFFIX)}"
            box = _range(reach.low[index], reach.high[index])
            yield f"position       {channel.name} at {at}, kept within {box}"

    def _strays(self, state: np.ndarray) -> list[str]:
        """Channels that are told their speeds and are not where they may be."""
        reach, names = self._limiter.table.reach, np.array(self.robot.layout.names)
        return names[(state < reach.low) | (state > reach.high)].tolist()

    def _unlike_training(self, state: np.ndarray) -> list[str]:
        """What is to be said of a state that is out there, once for all its channels."""
        if self.seen is None:
            return []
        low, high = self.seen
        margin = 0.1 * (high - low)
        is_out = (state < low - margin) | (state > high + margin)
        if not is_out.any():
            return []
        names = [n for n, out in zip(self.robot.layout.names, is_out, strict=True) if out]
        return [
            f"{', '.join(names)}: further out than the training data ever went. Another "
            "calibration, another unit or another arm?"
        ]

    def _unknown(self, state: np.ndarray) -> list[str]:
        """Channels that have a place, which the robot does not know."""
        lost = np.isnan(state) & ~self._limiter.table.rates
        return [
            name for name, is_lost in zip(self.robot.layout.names, lost, strict=True) if is_lost
        ]

    def _unlimited(self) -> list[str]:
        """Channels that may go as far or as fast, or change as abruptly, as anybody likes.

        The value of a rate is the speed, its change per second the acceleration, and how far it
        may go its position's limit.
        """
        table = self._limiter.table
        is_free = np.isinf(table.velocity) | (np.isinf(table.low) & np.isinf(table.high))
        is_free |= np.where(table.rates, ~table.reach.is_bound, np.isinf(table.acceleration))
        for turn in table.turns:
            rates = turn.limits.velocity, turn.limits.acceleration
            is_free[turn.block] = not np.isfinite(rates).all()
        return [name for name, free in zip(self.robot.layout.names, is_free, strict=True) if free]


def stops(keys: bool) -> str:
    """How a run is ended at once."""
    names = ", ".join(number.name for number in SIGNALS)
    is_heard = keys and terminal_number() is not None
    heard = "space, q or Escape in this terminal; " if is_heard else ""
    return f"{heard}Ctrl-C; {names} to process {os.getpid()}"


def look_over(preflight: Preflight, robot: Robot, yes: bool) -> None:
    """Show everything, and ask.

    Args:
        preflight: What is known.
        robot: The robot, connected and standing still.
        yes: Do not ask.

    Raises:
        NotDriven: The robot may not move.
    """
    now = robot.observe()
    if problems := preflight.problems(now):
        raise NotDriven(f"It must not move: {problems[0]}")
    print("\n".join(preflight.lines(now)))
    for warning in preflight.warnings(now):
        print(f"WARNING: {warning}")
    confirm(preflight.is_real, yes)


def confirm(is_real: bool, yes: bool) -> None:
    """Ask before a real robot moves.

    Raises:
        NotDriven: The answer was not `yes`, or there is nobody to ask.
    """
    if yes or not is_real:
        return
    if not sys.stdin.isatty():
        raise NotDriven("Nobody is there to be asked whether the robot may move: give --yes.")
    if input("Hand on the emergency stop? Type yes to let it move: ").strip().lower() != "yes":
        raise NotDriven("Not confirmed; nothing has moved.")


def _view(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}, brightness {image.mean():.0f} of 255"


def _range(low: float, high: float) -> str:
    return f"{_number(low)} .. {_number(high)}"


def _number(value: float) -> str:
    return {"inf": "-", "-inf": "-", "nan": "unknown"}.get(str(value), f"{value:.4g}")
