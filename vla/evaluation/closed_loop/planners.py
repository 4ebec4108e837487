"""Who plans: a policy by its flow head or its tokens, and a control that does not look.

A policy sees what it saw in training: the cameras that its configuration names, at its size, the
state and the actions through the mapping of its dataset, at its dataset's rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.windows import horizon_frames
from vla.deploy.robots.metaworld import ACTION_NAMES, ROBOT_TYPE
from vla.evaluation.closed_loop.loop import Moment
from vla.flow import seeded
from vla.images import fit
from vla.policy import VLAPolicy
from vla.samples import Observation

Pathway = Literal["flow", "ar"]
ACTION = "action"


class PolicyPlanner:
    """A policy in front of Meta-World.

    Args:
        policy: The policy.
        pathway: `flow` for its flow head, `ar` for its action tokens.
        steps: Of the flow's sampler; the policy's own where None.
        seconds: Of a chunk; the action tokenizer's where None, else one.

    Raises:
        ValueError: It does not know Meta-World's robot, or not from a dataset.
    """

    def __init__(
        self,
        policy: VLAPolicy,
        pathway: Pathway = "flow",
        steps: int | None = None,
        seconds: float | None = None,
    ) -> None:
        if pathway not in get_args(Pathway):
            raise ValueError(f"pathway is one of {get_args(Pathway)}, got {pathway!r}.")
        known = policy.tokenizer.embodiments
        if ROBOT_TYPE not in known:
            raise ValueError(
                f"The policy knows {sorted(known)}, but Meta-World's robot is {ROBOT_TYPE!r}. "
                "Train one on demonstrations of `rvq-vla demos`."
            )
        self.policy, self.pathway, self.steps = policy, pathway, steps
        self.rows = policy.tokenizer.mapping(ROBOT_TYPE)
        self.fps = known[ROBOT_TYPE].fps
        self.horizon = horizon_frames(self.fps, seconds or policy.tokenizer.seconds)

    @property
    def cameras(self) -> tuple[str, ...]:
        """That the policy looks through."""
        return self.policy.config.cameras[ROBOT_TYPE]

    def plan(self, moments: Sequence[Moment]) -> list[np.ndarray]:
        """Chunks float32 [T, 4] in the simulator's unit; the noise is that of start and plan."""
        seen = [self._observe(moment) for moment in moments]
        if self.pathway == "ar":
            chunks = [said.actions for said in self.policy.act_by_codes(seen, self.horizon)]
        else:
            noise = [seeded(moment.start.seed, moment.plans) for moment in moments]
            chunks = self.policy.act(seen, self.horizon, self.steps, noise)
        return [self.to_robot(chunk) for chunk in chunks]

    def to_robot(self, chunk: np.ndarray) -> np.ndarray:
        """Physical units [T, D] -> what the simulator takes, within its range."""
        return np.clip(self.rows.write_actions(chunk)[ACTION], -1.0, 1.0)

    def _observe(self, moment: Moment) -> Observation:
        size = self.policy.config.image_size
        views = {name: fit(image, size) for name, image in moment.robot.images().items()}
        proprio = self.rows.read_proprio(moment.robot.state())
        return Observation(views, proprio, moment.instruction, ROBOT_TYPE, self.fps)


class ShuffledChunks:
    """The control: chunks from anywhere in the demonstrations, whatever there is to be seen.

    It moves like whoever is to be imitated, of all tasks, but at the wrong moment: what it solves
    is solved by chance. Chunks do not depend on what other robots do, so that attempts can be
    repeated one by one.

    Args:
        datasets: Demonstrations of `rvq-vla demos`.
        horizon: T, frames of a chunk.

    Raises:
        ValueError: One is of another robot, or its episodes are shorter than a chunk.
    """

    def __init__(self, datasets: Sequence[str | Path], horizon: int) -> None:
        self.horizon = horizon
        self.episodes = [e for path in datasets for e in _recorded(path) if len(e) >= horizon]
        if not self.episodes:
            raise ValueError(
                f"No episode of {list(map(str, datasets))} has {horizon} frames to play. Name the "
                "demonstrations that the policy was trained on with --data."
            )

    def plan(self, moments: Sequence[Moment]) -> list[np.ndarray]:
        """Recorded actions float32 [T, 4]; every window is as likely."""
        return [self._draw(moment) for moment in moments]

    def _draw(self, moment: Moment) -> np.ndarray:
        rng = np.random.default_rng([moment.start.seed, moment.plans])
        windows = np.array([len(episode) - self.horizon + 1 for episode in self.episodes])
        number = int(rng.integers(windows.sum()))
        episode = int(np.searchsorted(windows.cumsum(), number, side="right"))
        first = number - int(windows[:episode].sum())
        return self.episodes[episode][first : first + self.horizon]


def _recorded(path: str | Path) -> list[np.ndarray]:
    reader = LeRobotReader(path)
    names = reader.channel_names(ACTION)
    if names != ACTION_NAMES:
        raise ValueError(
            f"{path} is no set of demonstrations in Meta-World: its actions are {names}, not "
            f"{ACTION_NAMES}. Record some with `rvq-vla demos`."
        )
    return [reader.episode(i)[ACTION] for i in range(reader.num_episodes)]
