"""One trial of layers 3 and 4: a robot is driven, recorded, and it is said how that went."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from vla.data.demo_settings import LONGEST_EPISODE
from vla.deploy.clock import Clock, MonotonicClock, SimulatedClock
from vla.deploy.cycle import Over
from vla.deploy.drive.preflight import Preflight, look_over
from vla.deploy.drive.sources import seen_states
from vla.deploy.playing.inference import InferenceThread, SimulatedInference
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.report import Ending
from vla.deploy.robots.config import read_robot
from vla.deploy.robots.kinds import MetaWorldConfig, RobotConfig
from vla.deploy.run import run
from vla.deploy.safety.estop import EmergencyStop
from vla.deploy.server.stop_call import by_call
from vla.deploy.settings import DeploymentSettings, SafetySettings
from vla.evaluation.closed_loop.starts import fresh_starts
from vla.evaluation.layers.person import ask_solved, await_person
from vla.evaluation.layers.subject import Subject
from vla.evaluation.layers.tracked import TrackedRobot
from vla.evaluation.layers.trial import PEACEFUL, Trial
from vla.evaluation.progress.rubrics import packaged_rubrics
from vla.evaluation.progress.tracker import ProgressTracker

SAFETY = SafetySettings()
EPSILON = 1e-9


def attempt(subject: Subject, trial: Trial) -> dict[str, Any]:
    """Drive, and say how it went; plain data."""
    trial.folder.parent.mkdir(parents=True, exist_ok=True)
    told, config = subject.settings, _configured(trial, subject.settings.seed)
    if config.is_real:
        await_person(trial.word, trial.folder.name, trial.speed)
    clock: Clock = MonotonicClock() if config.is_real else SimulatedClock()
    stop = EmergencyStop()
    defaults = replace(subject.defaults(), now=clock.now, stop=stop)
    robot = TrackedRobot(config.build(defaults), _tracker(config), clock.now)
    seed, wanted = told.seed + trial.number, told.seconds / trial.speed
    policy = DeployedVLA(subject.policy, robot.description.embodiment, steps=told.steps, seed=seed)
    settings = DeploymentSettings(
        instruction=told.said_to(trial.word),
        seconds=_at_most(config, wanted, robot.description.rate),
        schedule=told.scheduling(),
        safety=SAFETY,
        speed=trial.speed,
        record=trial.folder,
        keys=config.is_real,
    )
    inference = (
        InferenceThread(policy)
        if config.is_real
        else SimulatedInference(policy, clock, told.latency_s)
    )
    more: dict[str, Any] = {"stop": stop, "is_done": _is_done(robot, wanted)}
    if config.is_real:
        seen = seen_states(subject.policy.tokenizer, policy.description.embodiment)
        about = robot.description, policy.description, settings
        preflight = Preflight(*about, is_real=True, seen=seen, is_here=True, strict=True)
        more["ready"] = lambda: look_over(preflight, robot, yes=False)
    with by_call(stop, told.stop_at) if told.stop_at else nullcontext():
        report = run(robot, policy, settings, clock, inference, **more)
    success = _solved(config, robot, trial) if report.ending in PEACEFUL else False
    progress = robot.tracker.progress if robot.tracker else None
    return trial.row(report.to_dict(), success, progress)


def _configured(trial: Trial, seed: int) -> RobotConfig:
    """The robot of a trial: a simulated task from a fresh start of its own."""
    config = read_robot(trial.word)
    if not isinstance(config, MetaWorldConfig):
        return config
    start = fresh_starts(config.task, trial.number + 1, seed + config.seed)[trial.number]
    return replace(config, seed=start.seed)


def _at_most(config: RobotConfig, wanted: float, rate: float) -> float:
    """How long a trial may take [s], the wait for its first chunk included.

    After so many steps Meta-World's simulator refuses to go on.
    """
    whole = wanted + SAFETY.start_timeout_s
    simulated = isinstance(config, MetaWorldConfig)
    return min(whole, (LONGEST_EPISODE - 1) / rate) if simulated else whole


def _is_done(robot: TrackedRobot, wanted: float) -> Callable[[], bool]:
    """Whether nothing is left to do, for `run`; a trial's time counts from its first command on."""
    last = wanted - 1 / robot.description.rate - EPSILON

    def is_done() -> bool:
        if not robot.is_done and robot.moving_s > last:
            raise Over(Ending.TIME, "")
        return robot.is_done

    return is_done


def _tracker(config: RobotConfig) -> ProgressTracker | None:
    if not isinstance(config, MetaWorldConfig) or config.task not in packaged_rubrics():
        return None
    return ProgressTracker(packaged_rubrics()[config.task])


def _solved(config: RobotConfig, robot: TrackedRobot, trial: Trial) -> bool | None:
    """Whether the task is solved, where anybody can say."""
    if config.is_real:
        return ask_solved(trial.folder.name)
    return robot.is_solved if robot.knows else None
