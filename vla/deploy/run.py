"""run: a policy drives a robot, within limits, watched, recorded, and always to a safe end."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rvq_action.housekeeping.json_file import write_json
from vla.deploy.clock import Clock, MonotonicClock
from vla.deploy.cycle import Cycle, Over
from vla.deploy.loop import ControlLoop
from vla.deploy.playing.inference import Inference, InferenceThread
from vla.deploy.playing.schedule import Schedule, make_schedule
from vla.deploy.policies.policy import Policy, PolicyDescription, check_match
from vla.deploy.recording.logs import logging_aside
from vla.deploy.recording.recorder import Recorder
from vla.deploy.recording.to_dataset import finalize
from vla.deploy.report import Ending, RunReport, Tally
from vla.deploy.robots.protocol import Robot, RobotDescription
from vla.deploy.safety.checks import ObservationChecks
from vla.deploy.safety.estop import EmergencyStop, by_signal
from vla.deploy.safety.guard import GuardedRobot
from vla.deploy.safety.keys import by_key
from vla.deploy.safety.limiter import Limiter
from vla.deploy.safety.watchdog import Watchdog, WatchdogThread
from vla.deploy.settings import DeploymentSettings
from vla.deploy.witness import Witness

logger = logging.getLogger(__name__)
PEACEFUL = (Ending.DONE, Ending.TIME)


def run(
    robot: Robot,
    policy: Policy,
    settings: DeploymentSettings,
    clock: Clock | None = None,
    inference: Inference | None = None,
    stop: EmergencyStop | None = None,
    is_done: Callable[[], bool] = lambda: False,
    witness: Witness | None = None,
    ready: Callable[[], None] = lambda: None,
) -> RunReport:
    """Drive a robot.

    However it ends, the robot is held where the task is solved or time is up, stopped else, and let
    go of. Nobody waits meanwhile for what is logged to be shown (`vla.deploy.recording.logs`).

    Args:
        robot: The robot, not connected yet.
        policy: Who decides.
        settings: How.
        clock: The machine's where None. On a simulated one nothing is missed, and no watchdog runs.
        inference: Where chunks are computed; a thread of its own where None.
        stop: To stop it from elsewhere; signals, and keys where the settings say so, press it too.
        is_done: Says whether the task is solved.
        witness: Whoever else looks on, beside the recorder.
        ready: Called when the robot is connected and stands still; what it raises ends the run
            before anything has moved, and so does a signal until then.

    Raises:
        ValueError: Policy, robot and settings do not fit one another; nothing has moved.
        RobotError: The robot cannot be reached.
        FileExistsError: The folder of the recording exists.
        KeyboardInterrupt: A signal came before anything has moved, or a second one later.
    """
    stop, problems = stop or EmergencyStop(), list[str]()
    plan = _Plan.of(robot, policy, settings, clock or MonotonicClock())
    with logging_aside(), by_signal(stop), contextlib.ExitStack() as stack:
        recorder = plan.recorder()
        if recorder is not None:
            stack.callback(recorder.close)
        with contextlib.ExitStack() as connected:
            with _undone(recorder), stop.interrupting():
                policy.reset()
                connected.callback(_let_go, robot, problems)
                robot.connect()
                ready()
            inference = inference or InferenceThread(policy)
            cycle = plan.cycle(inference, tuple(w for w in (recorder, witness) if w is not None))
            stop.on_press(cycle.robot.stop)
            connected.enter_context(by_key(stop) if settings.keys else contextlib.nullcontext())
            over, seconds, trips = _drive(plan, cycle, stop, is_done)
            if not inference.close():
                problems.append("The inference hangs and was left behind.")
            if (pressed := _pressed(over, stop)) is not over:
                over = _stopped(plan, cycle.robot, pressed)
        over = _pressed(over, stop)
        if recorder is not None:
            recorder.event(plan.clock.now(), "end", f"{over.ending}: {over.detail}")
    return _reported(plan, recorder, (over, seconds, trips), problems)


class Fit(NamedTuple):
    """What plays the chunks of a policy, and what bounds them for a robot."""

    schedule: Schedule
    limiter: Limiter


def fit_together(
    robot: RobotDescription, policy: PolicyDescription, settings: DeploymentSettings
) -> Fit:
    """Make what stands between a policy and a robot; neither has to be there for it.

    Raises:
        ValueError: They do not fit one another.
    """
    check_match(policy, robot)
    patience_s = settings.safety.stale_chunk_s
    schedule = make_schedule(policy, settings.schedule, settings.speed, patience_s)
    return Fit(schedule, Limiter(robot.limits, robot.layout, robot.rate, settings.speed))


@dataclass(frozen=True)
class _Plan:
    """What can be made ready, and refused, before anything is connected."""

    robot: Robot
    policy: Policy
    settings: DeploymentSettings
    clock: Clock
    schedule: Schedule
    limiter: Limiter
    tally: Tally

    @classmethod
    def of(cls, robot: Robot, policy: Policy, settings: DeploymentSettings, clock: Clock) -> _Plan:
        fit = fit_together(robot.description, policy.description, settings)
        return cls(robot, policy, settings, clock, *fit, Tally())

    def recorder(self) -> Recorder | None:
        if self.settings.record is None:
            return None
        told, run = self.policy.description, self.settings.to_dict()
        about = {"instruction": self.settings.instruction, "settings": run}
        about |= {"policy": {"fps": told.fps, "horizon": told.horizon}}
        about |= {"started": datetime.now(UTC).isoformat(timespec="seconds")}
        waits = not self.clock.is_real
        return Recorder(self.settings.record, self.robot.description, about, waits)

    def cycle(self, inference: Inference, witnesses: tuple[Witness, ...]) -> Cycle:
        about, safety = self.robot.description, self.settings.safety
        checks = ObservationChecks(about, safety.stale_observation_s, safety.frozen_camera_s)
        guarded = GuardedRobot(self.robot, self.limiter.period)
        parts = guarded, self.schedule, inference, self.limiter, checks, self.settings, self.tally
        return Cycle(*parts, witnesses)


def _drive(
    plan: _Plan, cycle: Cycle, stop: EmergencyStop, is_done: Callable[[], bool]
) -> tuple[Over, float, int]:
    """Run the loop and leave the robot held or stopped.

    Returns:
        Why it ended, the seconds it took, and how often the watchdog had to act.
    """
    begin, trips, failure = plan.clock.now(), 0, None
    try:
        with _watched(plan, cycle) as watchdog:
            over = ControlLoop(cycle, plan.clock, stop, is_done, watchdog).run()
            trips = watchdog.trips if watchdog else 0
            if over.ending in PEACEFUL:
                over = _held(cycle.robot, over)
    except Exception as error:
        over, failure = Over(Ending.CRASHED, f"{type(error).__name__}: {error}"), error
    except BaseException as error:
        _stopped(plan, cycle.robot, Over(Ending.CRASHED, type(error).__name__))
        raise
    if over.ending not in PEACEFUL:
        over = _stopped(plan, cycle.robot, over)
    level = logging.INFO if over.ending in PEACEFUL else logging.ERROR
    logger.log(level, "Over: %s.", over.ending, exc_info=failure)
    return over, plan.clock.now() - begin, trips


def _pressed(over: Over, stop: EmergencyStop) -> Over:
    """A stop that is pressed after a peaceful end counts all the same."""
    is_late = over.ending in PEACEFUL and stop.pressed.is_set()
    return Over(Ending.EMERGENCY_STOP, stop.reason) if is_late else over


def _reported(
    plan: _Plan, recorder: Recorder | None, driven: tuple[Over, float, int], problems: list[str]
) -> RunReport:
    """Finish the recording, and put the report beside it.

    Args:
        plan: What was driven.
        recorder: Of the run.
        driven: What `_drive` returned.
        problems: That arose beside it.
    """
    over, seconds, trips = driven
    dataset, settings = _finalize(recorder, problems), plan.settings
    left = trips, settings.record, dataset, tuple(problems), settings.speed
    report = plan.tally.report(over.ending, over.detail, seconds, *left)
    if recorder is not None and not recorder.problem:
        write_json(report.to_dict(), recorder.folder / "report.json")
    return report


def _held(robot: GuardedRobot, over: Over) -> Over:
    """Leave the robot where it is, under power."""
    try:
        robot.hold()
    except Exception as error:
        return Over(Ending.ROBOT_LOST, f"It cannot be held in the end: {error}")
    return over


def _stopped(plan: _Plan, robot: GuardedRobot, over: Over) -> Over:
    """Stop the robot; where that fails once a period, for as long as it would be held."""
    until = plan.clock.now() + plan.settings.safety.stop_after_s
    while True:
        try:
            robot.stop()
            return over
        except Exception as error:
            if plan.clock.now() >= until:
                lost = f"It cannot be stopped ({error}) after: {over.detail}"
                return Over(Ending.ROBOT_LOST, lost)
        plan.clock.wait(plan.clock.now() + plan.limiter.period, threading.Event())


def _let_go(robot: Robot, problems: list[str]) -> None:
    try:
        robot.disconnect()
    except Exception as error:
        problems.append(f"The robot could not be let go of: {error}.")


@contextlib.contextmanager
def _watched(plan: _Plan, cycle: Cycle) -> Iterator[WatchdogThread | None]:
    """A watchdog for as long as the loop runs, where time is real."""
    if not plan.clock.is_real:
        yield None
        return
    patience = plan.settings.safety.watchdog(plan.limiter.period)
    after = patience + plan.settings.safety.stop_after_s
    watchdog = Watchdog(patience, after, plan.clock.now())
    robot = cycle.robot
    acts = robot.hold_now, robot.stop, plan.clock, lambda: robot.owes_stop
    with WatchdogThread(watchdog, *acts) as thread:
        yield thread


@contextlib.contextmanager
def _undone(recorder: Recorder | None) -> Iterator[None]:
    """What fails before anything has moved leaves no recording behind."""
    try:
        yield
    except BaseException:
        if recorder is not None:
            recorder.discard()
        raise


def _finalize(recorder: Recorder | None, problems: list[str]) -> Path | None:
    """The dataset of a recording; what goes wrong joins the problems."""
    if recorder is None:
        return None
    if recorder.problem:
        problems.append(f"{recorder.problem}.")
    if recorder.hangs:
        return None
    try:
        return finalize(recorder.folder)
    except (OSError, ValueError) as error:
        problems.append(f"No dataset was made of the recording: {error}")
    except KeyboardInterrupt:
        problems.append("No dataset was made of the recording: interrupted.")
    return None
