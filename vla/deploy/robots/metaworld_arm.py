"""MetaWorldArm: a Meta-World task as a robot to be deployed on, its world going on by periods."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from rvq_action.data.rows import RowMapping
from vla.deploy.robots.metaworld import MetaWorldRobot, check_cameras
from vla.deploy.robots.protocol import RobotDescription, RobotError, RobotObservation
from vla.deploy.safety.limits import Limits
from vla.deploy.safety.rates import rate_channels


class MetaWorldArm:
    """One start of one task.

    Args:
        task: Name of the task.
        rows: The mapping of the demonstrations: `policy.tokenizer.mapping("metaworld_sawyer")`.
        rate: Control steps per second, those of the demonstrations.
        image_size: Pixels per side.
        cameras: Of Meta-World's.
        seed: Of the start.
        limits: What it may be told.
        look_alike: Make the task look like the others of `LOOK_ALIKE`.
        goes_on: Whether the world takes a step while the arm is held, as a real one does.
        now: The time of the loop.

    Raises:
        ValueError: Meta-World has no such camera.
    """

    def __init__(
        self,
        task: str,
        rows: RowMapping,
        rate: float,
        image_size: int,
        cameras: Sequence[str],
        seed: int = 0,
        limits: Limits | None = None,
        look_alike: bool = False,
        goes_on: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        check_cameras(cameras)
        mapping, sizes = rows.mapping, dict.fromkeys(cameras, (image_size, image_size))
        told = mapping, rate, sizes, limits
        self.description = RobotDescription.mapped(*told, live_cameras=False)
        self.is_solved, self._seed, self._rows = False, seed, rows
        self._goes_on, self._now = goes_on, now
        self._build = lambda: MetaWorldRobot(task, image_size, cameras, look_alike)
        self._world: MetaWorldRobot | None = None
        self._rates = rate_channels(mapping.layout)

    def connect(self) -> None:
        """Build the world and draw its start.

        The first pictures take longer than a control period has; they are drawn here.
        """
        self._world = self._world or self._build()
        self._world.reset(self._seed)
        self._world.images()
        self.is_solved = False

    def observe(self) -> RobotObservation:
        world = self._running()
        proprio = self._rows.read_proprio(world.state())
        return RobotObservation(self._now(), proprio, world.images())

    def send(self, command: np.ndarray) -> None:
        """Take a control step; what the simulator cannot do it is not asked for."""
        row = np.clip(self._rows.write_actions(command)["action"], -1.0, 1.0)
        self.is_solved |= self._running().step(row)

    def hold(self, command: np.ndarray | None) -> None:
        """Stand still for a step, the gripper as it is."""
        if not self._goes_on:
            return
        if command is None:
            state = self._rows.read_proprio(self._running().state())
            command = np.where(self._rates, 0.0, state)
        self.send(command)

    def signals(self) -> dict[str, float]:
        """How far the task is, see `MetaWorldRobot.signals`."""
        return self._running().signals()

    def stop(self) -> None:
        """The world stands still with it: nothing moves that is not told to."""

    def disconnect(self) -> None:
        if self._world is not None:
            self._world.close()
            self._world = None

    def _running(self) -> MetaWorldRobot:
        if self._world is None:
            raise RobotError("The robot is not connected.")
        return self._world
