"""RolloutSettings: what is attempted, and how."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from vla.data.demo_settings import LONGEST_EPISODE
from vla.deploy.robots.metaworld_tasks import INSTRUCTIONS, check_tasks
from vla.evaluation.closed_loop.planners import Pathway

OWN_INSTRUCTION = "task"
Control = Literal["shuffled"]


@dataclass(frozen=True)
class RolloutSettings:
    """Settings that decide the outcomes, start by start.

    Attributes:
        tasks: Meta-World's task names.
        starts: Of each task; the same for whatever policy.
        pathway: `flow` or `ar`, by which of its two ways the policy acts.
        control: `shuffled` plays chunks of the demonstrations in `data` instead.
        data: Folders of demonstrations; only for the control.
        execute_frames: Of every chunk before the next one; half of it where None.
        steps: Of the flow's sampler; the policy's own where None.
        seconds: Of a chunk; the action tokenizer's where None.
        instruction: What the robot is told; `task` for each task's own.
        seed: Other numbers give other starts.
        max_steps: After which an attempt has failed.
        image_size: In which pictures are rendered before they are scaled to the policy's size, as
            the demonstrations were; the policy's own where None.
        look_alike: Tasks that only the instruction tells apart, see look_alike.py.
    """

    tasks: tuple[str, ...]
    starts: int = 20
    pathway: Pathway = "flow"
    control: Control | None = None
    data: tuple[str, ...] = ()
    execute_frames: int | None = None
    steps: int | None = None
    seconds: float | None = None
    instruction: str = OWN_INSTRUCTION
    seed: int = 0
    max_steps: int = 200
    image_size: int | None = None
    look_alike: bool = False

    def __post_init__(self) -> None:
        check_tasks(self.tasks, self.look_alike)
        counts = self.starts, self.execute_frames, self.steps, self.image_size
        if any(count is not None and count < 1 for count in counts) or self.seed < 0:
            raise ValueError("starts, execute_frames, steps and image_size start at 1, seed at 0.")
        if not 1 <= self.max_steps < LONGEST_EPISODE:
            raise ValueError(f"max_steps is 1 to {LONGEST_EPISODE - 1}, got {self.max_steps}.")
        if self.pathway not in get_args(Pathway) or self.control not in (None, *get_args(Control)):
            raise ValueError(
                f"pathway is one of {get_args(Pathway)} and control of {get_args(Control)}, got "
                f"{self.pathway!r} and {self.control!r}."
            )
        if not self.instruction.strip():
            raise ValueError("The instruction is empty. Say what to do, or leave it out.")
        if (self.control is None) == bool(self.data):
            raise ValueError(
                "The control plays chunks of demonstrations: give --data with --control shuffled, "
                "and neither without the other."
            )

    def instruction_for(self, task: str) -> str:
        """What the robot is told in front of a task."""
        own = self.instruction == OWN_INSTRUCTION
        return INSTRUCTIONS[task] if own else self.instruction

    def decisive(self) -> dict[str, Any]:
        """Everything that decides the outcome at a start; plain data, without paths."""
        told = {k: v for k, v in asdict(self).items() if k not in ("tasks", "starts")}
        return told | {"data": [Path(path).resolve().name for path in self.data]}
