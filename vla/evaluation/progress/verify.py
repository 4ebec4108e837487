"""Is a rubric right? What the scripted expert and an arm that does nothing score by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vla.deploy.robots.metaworld import CAMERAS, MetaWorldRobot
from vla.evaluation.closed_loop.starts import Start, fresh_starts
from vla.evaluation.progress.rubric import Rubric
from vla.evaluation.progress.tracker import SOLVED, SUCCESS, ProgressTracker

MAX_STEPS, IDLE_STEPS = 200, 60
IMAGE_SIZE = 16
"""Nobody looks."""


@dataclass(frozen=True)
class Walk:
    """One attempt.

    Attributes:
        success: Whether the task was solved.
        scores: [N] progress after every step.
        unaided: The stage that it was in when it succeeded, by everything but the success itself;
            empty where it did not.
    """

    success: bool
    scores: tuple[float, ...]
    unaided: str

    @property
    def is_monotone(self) -> bool:
        """Whether progress never fell."""
        return all(a <= b for a, b in zip(self.scores, self.scores[1:], strict=False))


@dataclass(frozen=True)
class RubricCheck:
    """What a task's rubric gives.

    Attributes:
        rubric: The rubric.
        expert: Attempts of the scripted expert.
        idle: Attempts of an arm that does nothing.
    """

    rubric: Rubric
    expert: tuple[Walk, ...]
    idle: tuple[Walk, ...]

    @property
    def skipped(self) -> list[str]:
        """Stages that an expert who succeeded had not completed by their own signals."""
        last = self.rubric.stages[-1].stage
        return sorted({w.unaided for w in self.expert if w.success} - {last, SOLVED})


def verify(rubric: Rubric, starts: int, seed: int = 0) -> RubricCheck:
    """Let the expert and an idle arm attempt a task.

    Args:
        rubric: Of the task.
        starts: How many.
        seed: Other numbers give other starts.

    Raises:
        RenderingUnavailable: The simulator does not work on this machine.
    """
    chosen = fresh_starts(rubric.task, starts, seed)
    rest = np.zeros(4, np.float32)
    with MetaWorldRobot(rubric.task, IMAGE_SIZE, CAMERAS[:1]) as robot:
        expert = _walks(rubric, robot, chosen, robot.expert_action, MAX_STEPS)
        idle = _walks(rubric, robot, chosen, lambda: rest, IDLE_STEPS)
    return RubricCheck(rubric, expert, idle)


def _walks(
    rubric: Rubric,
    robot: MetaWorldRobot,
    starts: Sequence[Start],
    decide: Callable[[], np.ndarray],
    steps: int,
) -> tuple[Walk, ...]:
    return tuple(_walk(rubric, robot, start.seed, decide, steps) for start in starts)


def _walk(
    rubric: Rubric,
    robot: MetaWorldRobot,
    seed: int,
    decide: Callable[[], np.ndarray],
    steps: int,
) -> Walk:
    robot.reset(seed)
    tracker, scores = ProgressTracker(rubric), []
    for _ in range(steps):
        success = robot.step(decide())
        signals = robot.signals()
        tracker.update({**signals, SUCCESS: 0.0})
        unaided = tracker.progress.stage
        tracker.update(signals)
        scores.append(tracker.progress.score)
        if success:
            return Walk(True, tuple(scores), unaided)
    return Walk(False, tuple(scores), "")
