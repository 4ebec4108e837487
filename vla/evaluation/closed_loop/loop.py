"""The receding horizon: plan a chunk, execute its first frames, look again.

    robots                  plan, all in one call       execute_frames steps each
    r0 r1 r2 ...       ->   chunk chunk chunk ...  ->   solved, out of steps, or next round

A robot that is done takes the next start at once, so that the policy always has a full batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from vla.evaluation.closed_loop.crew import Crew
from vla.evaluation.closed_loop.starts import Start
from vla.images import Image


class Robot(Protocol):
    """A simulated robot in front of one task: `MetaWorldRobot`."""

    def reset(self, seed: int) -> None: ...

    def state(self) -> np.ndarray: ...

    def images(self) -> dict[str, Image]: ...

    def step(self, action: np.ndarray) -> bool: ...

    def signals(self) -> dict[str, float]: ...

    def close(self) -> None: ...


class Moment(NamedTuple):
    """What a plan is made from.

    Attributes:
        start: Where the attempt began.
        plans: Plans made since then.
        instruction: What the robot is told.
        robot: To look at.
    """

    start: Start
    plans: int
    instruction: str
    robot: Robot


class Planner(Protocol):
    """Whoever decides what robots do next."""

    def plan(self, moments: Sequence[Moment]) -> list[np.ndarray]:
        """Actions [T, D] for each, as the robot takes them."""
        ...


class Outcome(NamedTuple):
    """How an attempt ended.

    Attributes:
        start: Where it began.
        instruction: What the robot was told.
        success: Whether the task was solved at any step.
        steps: Taken until then, or until the attempt was given up.
        progress: 0 to 100, by the rubric of the task; None where it has none.
        stage: Of the rubric, in which it ended; None where it has none.
    """

    start: Start
    instruction: str
    success: bool
    steps: int
    progress: float | None = None
    stage: str | None = None


@dataclass(frozen=True)
class Rules:
    """What an attempt may do.

    Attributes:
        instruct: Task -> what the robot is told.
        execute_frames: Of every chunk, before the next one is planned.
        max_steps: After which an attempt has failed.
    """

    instruct: Callable[[str], str]
    execute_frames: int
    max_steps: int


Watch = Callable[[Robot], None]
"""Called after the reset and after every step."""


@dataclass
class _Attempt:
    robot: Robot
    start: Start
    instruction: str
    watch: Watch
    steps: int = 0
    plans: int = 0
    solved: bool = False

    def begin(self) -> None:
        self.robot.reset(self.start.seed)
        self.watch(self.robot)

    def is_over(self, rules: Rules) -> bool:
        return self.solved or self.steps == rules.max_steps

    def follow(self, actions: np.ndarray, rules: Rules) -> None:
        self.plans += 1
        for action in actions[: rules.execute_frames]:
            if self.is_over(rules):
                return
            self.solved = self.robot.step(action)
            self.steps += 1
            self.watch(self.robot)

    @property
    def moment(self) -> Moment:
        return Moment(self.start, self.plans, self.instruction, self.robot)

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.start, self.instruction, self.solved, self.steps)


def play(
    starts: Sequence[Start],
    crew: Crew[Robot],
    planner: Planner,
    rules: Rules,
    watch: Callable[[Start], Watch] = lambda start: lambda robot: None,
) -> Iterator[Outcome]:
    """Attempt every start.

    Args:
        starts: In the order in which they are taken.
        crew: The robots; as many attempts go on at a time as it has.
        planner: Decides.
        rules: Of the attempts.
        watch: Whoever looks on at an attempt.

    Yields:
        Every outcome when it is known.
    """
    waiting, running = list(starts), list[_Attempt]()
    while waiting or running:
        while (pair := crew.assign(waiting)) is not None:
            start, robot = pair
            attempt = _Attempt(robot, start, rules.instruct(start.task), watch(start))
            attempt.begin()
            running.append(attempt)
        plans = planner.plan([attempt.moment for attempt in running])
        for attempt, actions in zip(running, plans, strict=True):
            attempt.follow(actions, rules)
        over = [attempt for attempt in running if attempt.is_over(rules)]
        running = [attempt for attempt in running if not attempt.is_over(rules)]
        for attempt in over:
            crew.release(attempt.start.task, attempt.robot)
            yield attempt.outcome
