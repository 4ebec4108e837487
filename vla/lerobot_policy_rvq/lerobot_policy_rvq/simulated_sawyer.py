"""SimulatedSawyer: a Meta-World task as one of LeRobot's robots, to record and to be driven."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from lerobot.robots.robot import Robot

from lerobot_policy_rvq.config_simulated_sawyer import SimulatedSawyerConfig
from vla.deploy.robots.metaworld import ACTION_NAMES, ROBOT_TYPE, STATE_NAMES, MetaWorldRobot


class SimulatedSawyer(Robot):
    """A simulated Sawyer arm; its world takes a step with every action.

    Args:
        config: Task and cameras.
    """

    config_class = SimulatedSawyerConfig
    name = ROBOT_TYPE

    def __init__(self, config: SimulatedSawyerConfig) -> None:
        super().__init__(config)
        self.config = config
        self.cameras = dict.fromkeys(config.camera_names)
        kinds = (".pos", ".vel") if config.kinds_in_names else ("", "")
        self._state_names = [f"{name}{kinds[0]}" for name in STATE_NAMES]
        self._action_names = [f"{name}{kinds[1]}" for name in ACTION_NAMES]
        self._world: MetaWorldRobot | None = None
        self._starts = 0

    @cached_property
    def observation_features(self) -> dict[str, Any]:
        size = self.config.image_size
        pictures = dict.fromkeys(self.config.camera_names, (size, size, 3))
        return {**dict.fromkeys(self._state_names, float), **pictures}

    @cached_property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys(self._action_names, float)

    @property
    def is_connected(self) -> bool:
        return self._world is not None

    @property
    def is_calibrated(self) -> bool:
        return True

    def connect(self, calibrate: bool = True) -> None:
        """Build the world and draw a start."""
        told = self.config.task, self.config.image_size, self.config.camera_names
        self._world = self._world or MetaWorldRobot(*told)
        self._world.reset(self.config.seed + self._starts)
        self._starts += 1

    def calibrate(self) -> None:
        """There is nothing to calibrate."""

    def configure(self) -> None:
        """There is nothing to configure."""

    def get_observation(self) -> dict[str, Any]:
        """Numbers by name, and uint8 [H, W, 3] of every camera."""
        world = self._running()
        state = map(float, world.state())
        images = {name: np.ascontiguousarray(i) for name, i in world.images().items()}
        return {**dict(zip(self._state_names, state, strict=True)), **images}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Take a control step; returns what was executed, within the simulator's range."""
        row = np.clip([float(action[name]) for name in self._action_names], -1.0, 1.0)
        self._running().step(row.astype(np.float32))
        return dict(zip(self._action_names, row.tolist(), strict=True))

    def disconnect(self) -> None:
        """Free the world."""
        if self._world is not None:
            self._world.close()
            self._world = None

    def _running(self) -> MetaWorldRobot:
        if self._world is None:
            raise ConnectionError("The simulated arm is not connected: call connect() first.")
        return self._world
