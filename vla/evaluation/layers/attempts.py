"""Layers 3 and 4: the policy drives robots, slowly and then at full speed, recorded: trial.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vla.data.demo_settings import LONGEST_EPISODE
from vla.deploy.clock import Clock, MonotonicClock, SimulatedClock
from vla.deploy.drive.preflight import Preflight, look_over
from vla.deploy.drive.sources import seen_states
from vla.deploy.inference import InferenceThread, SimulatedInference
from vla.deploy.report import RunReport
from vla.deploy.robots.config import read_robot, robot_digest
from vla.deploy.robots.kinds import MetaWorldConfig, RobotConfig
from vla.deploy.run import run
from vla.deploy.settings import DeploymentSettings
from vla.deploy.vla_policy import DeployedVLA
from vla.evaluation.closed_loop.starts import fresh_starts
from vla.evaluation.layers.gates import Check, Gates
from vla.evaluation.layers.person import ask_solved, await_person
from vla.evaluation.layers.subject import Subject
from vla.evaluation.layers.tracked import TrackedRobot
from vla.evaluation.layers.trial import COUNTS, PEACEFUL, Trial, ended
from vla.evaluation.progress.rubrics import packaged_rubrics
from vla.evaluation.progress.tracker import ProgressTracker


def measure(subject: Subject, layer: Path, speed: float) -> dict[str, Any]:
    """Let every robot be driven as often as there are trials; plain data.

    A trial that does not end in peace is the last one: somebody has to look first. It may be
    repeated, but that of a real robot stays among the rows.

    Raises:
        ValueError: Policy and robot do not fit, nobody is beside a real one, or the folder holds
            trials with other settings; nothing has moved.
        RobotError: A robot cannot be reached.
    """
    told = subject.settings
    trials = [
        Trial.of(word, number, speed, layer, read_robot(word).is_real)
        for word in told.robots
        for number in range(told.trials)
    ]
    decided = {word: decides(subject, word, speed) for word in told.robots}
    for trial in trials:
        if trial.known(decided[trial.word]) is None:
            trial.clear(decided[trial.word])
    rows = [row for trial in trials for row in trial.aborted(decided[trial.word])]
    for trial in tqdm(trials, layer.name.replace("_", " "), unit="trial", disable=None):
        row = trial.known(decided[trial.word])
        rows.append(row or trial.keep(attempt(subject, trial), decided[trial.word]))
        if not ended(rows[-1]):
            break
    return {"speed": speed, "trials": rows, "cut_short": not ended(rows[-1])}


def judge(figures: dict[str, Any], gates: Gates, least: float) -> list[Check]:
    """Hold the figures against the gates.

    Args:
        figures: What `measure` gave.
        gates: The bounds.
        least: Share of trials that must be solved.
    """
    rows = figures["trials"]
    wrong = [f"{row['name']}: {row['ending']} ({row['detail']})" for row in rows if not ended(row)]
    checks = [Check("every trial ended in peace", not wrong, "; ".join(wrong) or "all did")]
    for name, part, of, gate in (
        ("missed deadlines", "missed_deadlines", ("periods",), gates.missed),
        ("refused chunks", "refused_chunks", ("chunks", "refused_chunks"), gates.refused),
        ("commands changed by limits", "clipped", ("sent",), gates.clipped),
    ):
        whole = sum(row[key] for row in rows for key in of)
        checks.append(Check.at_most(name, sum(row[part] for row in rows) / max(whole, 1), gate))
    solved = [row["success"] for row in rows if row["success"] is not None]
    if not solved and least > 0:
        return [*checks, Check("solved", False, "nothing says whether a trial was solved")]
    share = sum(solved) / max(len(solved), 1)
    return [*checks, Check.at_least("solved", share, least)]


def attempt(subject: Subject, trial: Trial) -> dict[str, Any]:
    """One trial: drive, and say how it went; plain data."""
    trial.folder.parent.mkdir(parents=True, exist_ok=True)
    told, config = subject.settings, _configured(trial, subject.settings.seed)
    if config.is_real:
        await_person(trial.word, trial.folder.name, trial.speed)
    clock: Clock = MonotonicClock() if config.is_real else SimulatedClock()
    defaults = replace(subject.defaults(), now=clock.now)
    robot = TrackedRobot(config.build(defaults), _tracker(config))
    seed = told.seed + trial.number
    policy = DeployedVLA(subject.policy, robot.description.embodiment, steps=told.steps, seed=seed)
    settings = DeploymentSettings(
        instruction=told.said_to(trial.word),
        seconds=_seconds(config, told.seconds / trial.speed, robot.description.rate),
        schedule=told.scheduling(),
        speed=trial.speed,
        record=trial.folder,
        keys=config.is_real,
    )
    inference = (
        InferenceThread(policy)
        if config.is_real
        else SimulatedInference(policy, clock, told.latency_s)
    )
    more: dict[str, Any] = {"is_done": lambda: robot.is_done}
    if config.is_real:
        seen = seen_states(subject.policy.tokenizer, policy.description.embodiment)
        preflight = Preflight(robot.description, policy.description, settings, True, seen)
        more["ready"] = lambda: look_over(preflight, robot, yes=False)
    report = run(robot, policy, settings, clock, inference, **more)
    success = _solved(config, robot, trial) if report.ending in PEACEFUL else False
    return _row(trial, report, success, robot.tracker)


def decides(subject: Subject, word: str, speed: float) -> dict[str, Any]:
    """What decides how the trials of a robot go, beside their numbers; plain data."""
    told = subject.settings.decisive("full_speed") | {"speed": speed}
    told |= {"policy": subject.claim, "robot": robot_digest(word)}
    return {name: value for name, value in told.items() if name not in ("robots", "trials")}


def _configured(trial: Trial, seed: int) -> RobotConfig:
    """The robot of a trial: a simulated task from a fresh start of its own."""
    config = read_robot(trial.word)
    if not isinstance(config, MetaWorldConfig):
        return config
    start = fresh_starts(config.task, trial.number + 1, seed + config.seed)[trial.number]
    return replace(config, seed=start.seed)


def _seconds(config: RobotConfig, wanted: float, rate: float) -> float:
    """How long a trial may take; after so many steps Meta-World's simulator refuses to go on."""
    simulated = isinstance(config, MetaWorldConfig)
    return min(wanted, (LONGEST_EPISODE - 1) / rate) if simulated else wanted


def _tracker(config: RobotConfig) -> ProgressTracker | None:
    if not isinstance(config, MetaWorldConfig) or config.task not in packaged_rubrics():
        return None
    return ProgressTracker(packaged_rubrics()[config.task])


def _solved(config: RobotConfig, robot: TrackedRobot, trial: Trial) -> bool | None:
    """Whether the task is solved, where anybody can say."""
    if config.is_real:
        return ask_solved(trial.folder.name)
    return robot.is_solved if robot.knows else None


def _row(
    trial: Trial, report: RunReport, success: bool | None, tracker: ProgressTracker | None
) -> dict[str, Any]:
    """How a trial went, as plain data."""
    progress = tracker.progress if tracker else None
    return {
        "name": trial.folder.name,
        "robot": trial.word,
        "number": trial.number,
        "ending": str(report.ending),
        "detail": report.detail,
        "success": success,
        "progress": progress and progress.score,
        "stage": progress and progress.stage,
        **{name: getattr(report, name) for name in COUNTS},
        "clipped": max(report.clipped.values(), default=0),
        "held": dict(report.held),
        "problems": list(report.problems),
        "videos": trial.videos,
    }
