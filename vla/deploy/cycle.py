"""One control period: look, think, act.

look    the robot's observation, if it can be believed
think   take the chunk that has arrived; ask for the next one where it is time
act     send the frame that is due within limits, or hold the robot and say why

Looking takes time. What is due is that of the period it is then, and where a whole one has passed
in between nothing is sent: nobody knows what has become of the robot.
"""

from __future__ import annotations

import logging
import math
from copy import copy
from dataclasses import dataclass

import numpy as np

from vla.deploy.period import Period
from vla.deploy.playing.inference import Answer, Inference
from vla.deploy.playing.schedule import Due, Schedule
from vla.deploy.policies.policy import Request
from vla.deploy.report import Ending, Reason, Tally
from vla.deploy.robots.protocol import RobotObservation
from vla.deploy.safety.checks import ObservationChecks
from vla.deploy.safety.guard import GuardedRobot, Stopped
from vla.deploy.safety.hold import USUAL, Hold, Problem
from vla.deploy.safety.limiter import LimitedCommand, Limiter, LimitViolation
from vla.deploy.safety.whereabouts import displaced
from vla.deploy.settings import DeploymentSettings
from vla.deploy.witness import Step, Witness

logger = logging.getLogger(__name__)
BRIDGED = 3
"""Periods that may be missing without what was planned before them being forgotten."""
PACE = 0.5
"""Of a period: commands come no closer."""


class Over(Exception):
    """The run is over."""

    def __init__(self, ending: Ending, detail: str) -> None:
        super().__init__(detail)
        self.ending, self.detail = ending, detail


@dataclass
class Cycle:
    """The parts of a run, and what they remember from period to period.

    Attributes:
        is_starting: Whether the first chunk is still waited for, of all or after a gap.
        held: The present hold.
        well: Number of the last period in which all was well to look at.
        seen: float32 [D], where the robot was then.
        told: float64 [D], where it was last told to be.
        sent_at: When that was [s].
        interventions: Of the watchdog, that the limiter knows of.
        requests: That were made.
        valid_from: Number of the first one whose answer is still of use.
        wanted_at: When the chunk that is waited for was first asked for [s]; infinite: none is.
    """

    robot: GuardedRobot
    schedule: Schedule
    inference: Inference
    limiter: Limiter
    checks: ObservationChecks
    settings: DeploymentSettings
    tally: Tally
    witnesses: tuple[Witness, ...] = ()
    is_starting: bool = True
    held: Hold | None = None
    well: int = -1
    seen: np.ndarray | None = None
    told: np.ndarray | None = None
    sent_at: float = -math.inf
    interventions: int = 0
    requests: int = 0
    valid_from: int = 0
    wanted_at: float = math.inf

    def run(self, period: Period) -> Period:
        """Do what is to be done.

        Args:
            period: The one that it is.

        Returns:
            The one in which the robot was commanded or held.

        Raises:
            Over: The run cannot go on; the robot has to be stopped.
        """
        observation, problem = self._look(period)
        period = period.latest()
        now = period.begin
        if problem is None and observation is not None:
            self._resume(observation, period)
            problem = self._think(observation, period)
        due = None if problem else self.schedule.due(now)
        sent: LimitedCommand | None = None
        if due is not None and observation is not None:
            sent, problem = self._send(due, observation, period)
        elif problem is None:
            told = "the policy has not answered yet" if self.inference.is_busy else "nothing is due"
            problem = Problem(Reason.STARTING if self.is_starting else Reason.LATE, told)
        if problem is not None:
            self._hold(problem, now)
        elif self.held is not None:
            self._tell(now, "moving", f"held for {now - self.held.since:.3f} s")
            self.held = None
        values, clipped = (sent.values, sent.clipped) if sent else (None, ())
        step = Step(now, observation, due, values, clipped, problem)
        for witness in self.witnesses:
            witness.step(step)
        if problem and self.held and self.held.is_too_long(now, self.settings.safety):
            raise Over(Ending.HELD_TOO_LONG, str(self.held.cause))
        return period

    def _look(self, period: Period) -> tuple[RobotObservation | None, Problem | None]:
        begin = period.clock.now()
        try:
            observation = self.robot.observe()
        except Exception as error:
            return None, Problem(Reason.ROBOT, f"{type(error).__name__}: {error}")
        end = period.clock.now()
        if period.is_past:
            told = f"looking at the robot took {end - begin:.3f} s of a period of"
            return observation, Problem(Reason.BEHIND, f"{told} {period.length:g} s")
        if wrong := self.checks.problem(observation, end):
            return observation, Problem(Reason.OBSERVATION, wrong)
        for witness in self.witnesses:
            if wrong := witness.problem:
                return observation, Problem(Reason.RECORDING, wrong)
        return observation, None

    def _resume(self, observation: RobotObservation, period: Period) -> None:
        """The robot is to be believed: go on from where it was left, or anew from where it is."""
        missing, self.well = period.number - self.well - 1, period.number
        seen, self.seen = self.seen, observation.proprio
        if missing > 1 and self.held is None:
            self.limiter.coast()
        names: tuple[str, ...] = ()
        if missing and seen is not None and self.told is not None:
            about = self.limiter.table, period.length, seen, self.told
            names = displaced(*about, observation.proprio)
        if names:
            self._begin_anew(observation, period.begin, names)
        if names or missing > BRIDGED:
            self.schedule.clear()
            self.valid_from, self.is_starting = self.requests, True

    def _begin_anew(
        self, observation: RobotObservation, now: float, names: tuple[str, ...]
    ) -> None:
        """It is held, too, where it has been moved to."""
        try:
            self.limiter.start(observation.proprio)
        except LimitViolation as error:
            raise Over(Ending.OUT_OF_LIMITS, str(error)) from error
        stands = self.limiter.rest()
        assert stands is not None and self.told is not None
        self.told = np.where(np.isfinite(stands), stands, self.told)
        self.robot.stands(self.told)
        told = f"{', '.join(names)} elsewhere than the robot was left: it begins anew from there"
        self._tell(now, "moved", told, logging.WARNING)

    def _think(self, observation: RobotObservation, period: Period) -> Problem | None:
        """Ask when it is time; answers may be there at once where no time passes.

        A robot does not go on by what was seen long ago, however slowly that is played.
        """
        problem, now = self._take(period), period.begin
        if now - self.wanted_at > self.settings.safety.stale_chunk_s:
            self.schedule.clear()
        if problem is not None or self.inference.is_busy or not self.schedule.wants(now):
            return problem
        told = self.settings.instruction, self.requests, self.schedule.committed(now)
        self.requests += 1
        self.wanted_at = min(self.wanted_at, now)
        self.inference.ask(Request(observation, *told), now)
        return self._take(period)

    def _take(self, period: Period) -> Problem | None:
        now = period.begin
        answer = self.inference.answer(now)
        if answer is None:
            return None
        self.tally.inference_s.append(answer.seconds)
        self.tally.delays.append((now - answer.asked) * self.robot.robot.description.rate)
        if answer.actions is None:
            self.is_starting = False
            self.schedule.clear()
            self.tally.refused_chunks += 1
            return Problem(Reason.CHUNK, answer.problem)
        self._play(answer, answer.actions, period)
        return None

    def _play(self, answer: Answer, actions: np.ndarray, period: Period) -> None:
        now = period.begin
        age = period.clock.now() - answer.request.observation.time
        is_fresh = age <= self.settings.safety.stale_chunk_s
        is_fresh &= answer.request.number >= self.valid_from
        if is_fresh and self.schedule.add(actions, answer.request.number, answer.asked, now):
            self.tally.chunks += 1
            self.wanted_at = math.inf
            return
        self.tally.refused_chunks += 1
        told = f"chunk {answer.request.number} is of what was seen {age:.3f} s ago"
        if answer.request.number < self.valid_from:
            told += ", before a gap"
        self._tell(now, "chunk refused", told)

    def _send(
        self, due: Due, observation: RobotObservation, period: Period
    ) -> tuple[LimitedCommand | None, Problem | None]:
        """What is not sent after all does not count as sent."""
        period.clock.wait(self.sent_at + PACE * period.length, self.robot.stopped)
        limiter = copy(self.limiter)
        try:
            limited = limiter.limit(due.command, observation.proprio)
            if overtaken := self._overtaken(period):
                return None, Problem(Reason.BEHIND, overtaken)
            self.limiter, self.told = limiter, limited.values
            self.sent_at = period.clock.now()
            self.robot.send(limited.values)
        except LimitViolation as error:
            raise Over(Ending.OUT_OF_LIMITS, str(error)) from error
        except Stopped as error:
            raise Over(Ending.WATCHDOG, str(error)) from error
        except Exception as error:
            return None, Problem(Reason.ROBOT, f"{type(error).__name__}: {error}")
        self.is_starting = False
        self.tally.sent += 1
        self.tally.clipped.update(limited.clipped)
        return limited, None

    def _overtaken(self, period: Period) -> str:
        """Why a command comes too late, empty where it does not."""
        if self.robot.interventions != self.interventions:
            return "the watchdog has held the robot"
        late = period.clock.now() - period.begin
        return f"a command was ready {late:.3f} s after it was due" if period.is_past else ""

    def _hold(self, problem: Problem, now: float) -> None:
        """Hold it first, then say so."""
        self.tally.held[problem.reason] += 1
        self.interventions = self.robot.interventions
        self.limiter.rest()
        self.held = self.held or Hold(now)
        try:
            self.robot.hold()
        except Exception as error:
            raise Over(Ending.ROBOT_LOST, f"It cannot be held: {error}") from error
        finally:
            if self.held.goes_on(problem, now):
                level = logging.INFO if problem.reason in USUAL else logging.WARNING
                self._tell(now, "held", str(problem), level)

    def _tell(self, now: float, kind: str, detail: str, level: int = logging.INFO) -> None:
        logger.log(level, "%s: %s", kind.capitalize(), detail)
        for witness in self.witnesses:
            witness.event(now, kind, detail)
