"""Subject: the policy that is looked at, and what it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rvq_action.chunk import ActionChunk
from rvq_action.data.windows import Windows, horizon_frames
from vla.data.changes import known_proprio
from vla.data.robot_source import RobotSource
from vla.deploy.glance import glance
from vla.deploy.robots.config import read_robot
from vla.deploy.robots.kinds import Defaults
from vla.evaluation.layers.settings import EvalSettings
from vla.flow import seeded
from vla.images import fit
from vla.policy import VLAPolicy
from vla.samples import Observation


@dataclass(frozen=True)
class Subject:
    """A policy under evaluation.

    Attributes:
        policy: The policy.
        settings: What it is looked at with.
        claim: The fingerprint of its files; empty where it has none.
    """

    policy: VLAPolicy
    settings: EvalSettings
    claim: str = ""

    @classmethod
    def load(cls, settings: EvalSettings, claim: str) -> Subject:
        """Load the policy; errors as `VLAPolicy.from_pretrained`."""
        return cls(VLAPolicy.from_pretrained(settings.policy, settings.device), settings, claim)

    @cached_property
    def source(self) -> RobotSource:
        """The dataset's held-out episodes.

        Raises:
            ValueError: The policy does not know its robot, its layout or its cameras.
        """
        told, policy = self.settings, self.policy
        given = policy.config, policy.tokenizer, told.mapping
        return RobotSource.open(str(told.data), *given, part="held_out")

    @cached_property
    def embodiment(self) -> str:
        """The robot that the policy acts as."""
        if self.settings.data is not None:
            return self.source.embodiment
        return self.policy.samples.embodiment(self.settings.embodiment)

    @property
    def horizon(self) -> int:
        """T, frames of a chunk."""
        fps = self.policy.tokenizer.embodiments[self.embodiment].fps
        return horizon_frames(fps, self.policy.tokenizer.seconds)

    def training_windows(self) -> Windows:
        """All windows of the dataset's training episodes, ends of episodes included."""
        episodes = [self.source.dataset.episodes[i] for i in self.source.split.train]
        return Windows(episodes, self.source.windows.horizon, tails=True)

    def spread(self, count: int) -> list[int]:
        """Numbers of held-out windows, evenly spread over the episodes."""
        last = len(self.source.windows) - 1
        chosen = np.linspace(0, last, min(count, last + 1)).round().astype(int)
        return chosen.tolist()

    def shown(self, rows: Sequence[int]) -> tuple[list[Observation], ActionChunk]:
        """What the policy sees at held-out windows, and what was done there."""
        source, rng = self.source, np.random.default_rng(0)
        chunk = source.chunk(rows)
        proprio = known_proprio(chunk)
        seen = [
            Observation(
                source.images(window),
                proprio[row],
                source.instruction(window, 0.0, rng),
                source.embodiment,
                chunk.fps,
            )
            for row, window in enumerate(rows)
        ]
        return seen, chunk

    def look(self) -> Observation:
        """What the first robot shows, connected for that moment alone.

        Actions are asked for at the policy's own rate, as where the robot is driven.

        Raises:
            KeyError: The policy does not know the robot.
            ValueError: It lacks a camera, or nothing says what it is to do.
        """
        word = self.settings.robots[0]
        robot = read_robot(word).build(self.defaults())
        seen = glance(robot)
        about, size = robot.description, self.policy.config.image_size
        name = self.policy.samples.embodiment(about.embodiment)
        wanted = self.policy.config.cameras[name]
        if missing := [camera for camera in wanted if camera not in seen.images]:
            raise ValueError(
                f"The policy looks through {missing}, but {word} shows {sorted(seen.images)}."
            )
        views = {camera: fit(seen.images[camera], size) for camera in wanted}
        told = self.settings.said_to(word)
        fps = self.policy.tokenizer.embodiments[name].fps
        return Observation(views, seen.proprio, told, name, fps)

    def defaults(self) -> Defaults:
        """What the policy brings along for its robots."""
        name, tokenizer = self.embodiment, self.policy.tokenizer
        known = tokenizer.embodiments[name]
        rows = None if known.mapping is None else tokenizer.mapping(name)
        cameras, size = self.policy.config.cameras[name], self.policy.config.image_size
        return Defaults(rows, known.fps, tuple(cameras), size)

    def act(self, seen: Sequence[Observation], seed: int) -> list[np.ndarray]:
        """Chunks float32 [T, D] each, physical units; the noise is that of seed and place."""
        if self.settings.pathway == "ar":
            return [said.actions for said in self.policy.act_by_codes(seen, self.horizon)]
        noise = [seeded(seed, place) for place in range(len(seen))]
        return self.policy.act(seen, self.horizon, self.settings.steps, noise)
