"""What a robot is told at a frame: the goal of its task, or the step it is at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.task_text import is_placeholder


@dataclass(frozen=True)
class Script:
    """The texts and times of an episode's frames; a text is empty where there is none.

    Attributes:
        times: [N] s since the episode's start.
        goals: N texts of the task.
        steps: N texts of the step within it (LeRobot's subtasks).
    """

    times: np.ndarray
    goals: tuple[str, ...]
    steps: tuple[str, ...]

    @classmethod
    def read(cls, reader: LeRobotReader, episode: int) -> Script:
        """The script of an episode.

        Raises:
            ValueError: A frame names a task or step that the dataset has no text for.
        """
        columns = reader.episode(episode)
        count = len(columns["timestamp"])
        goal = next(iter(reader.episode_tasks(episode)), "")
        goals, steps = [goal] * count, [""] * count
        if "task_index" in columns:
            goals = _look_up(reader.tasks, columns["task_index"], f"{reader.path}: task")
        if "subtask_index" in columns and reader.subtasks:
            steps = _look_up(reader.subtasks, columns["subtask_index"], f"{reader.path}: subtask")
        return cls(columns["timestamp"], _said(goals), _said(steps))

    def choose(self, frame: int, step_share: float, rng: np.random.Generator) -> str:
        """What is told at a frame.

        Args:
            frame: Its number.
            step_share: How often the step is told where there are both.
            rng: Where chance comes from.
        """
        goal, step, prefer_step = self.goals[frame], self.steps[frame], rng.random() < step_share
        return step if step and (prefer_step or not goal) else goal

    @property
    def silent(self) -> bool:
        """Whether some frame is told nothing at all."""
        return not all(g or s for g, s in zip(self.goals, self.steps, strict=True))


def _look_up(texts: dict[int, str], numbers: np.ndarray, where: str) -> list[str]:
    """Texts by number; -1 stands for none."""
    unknown = sorted(set(numbers.tolist()) - set(texts) - {-1})
    if unknown:
        raise ValueError(f"{where} {unknown} has no text in meta/. Copy the dataset again.")
    return [texts.get(int(number), "") for number in numbers]


def _said(texts: list[str]) -> tuple[str, ...]:
    return tuple("" if is_placeholder(text) else text for text in texts)
