"""A robot that does what it is told, and policies that do what tests need."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.rvq_action.robots import ARM
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.playing.schedule_settings import ScheduleSettings
from vla.deploy.policies.policy import PolicyDescription, Request
from vla.deploy.report import RunReport
from vla.deploy.robots.protocol import RobotDescription, RobotError, RobotObservation
from vla.deploy.run import run
from vla.deploy.safety.limits import Limits
from vla.deploy.settings import DeploymentSettings, SafetySettings

RATE, HORIZON, SIZE = 20.0, 10, (16, 24)


class FakeRobot:
    """Is where it was told to be. Notes every call as (period it was made in, name, value)."""

    def __init__(
        self,
        limits: Limits | None = None,
        now: Callable[[], float] = time.monotonic,
        live: bool = True,
    ) -> None:
        cameras = {"front": SIZE}
        told = "arm", ARM, RATE, cameras, limits or Limits(), live
        self.description = RobotDescription(*told)
        self.now, self.state, self.looks = now, np.zeros(4), 0
        self.calls: list[tuple[int, str, np.ndarray | None]] = []
        self.frozen_from = self.blind_from = self.lost_from = None

    def names(self) -> list[str]:
        return [name for _, name, _ in self.calls]

    def connect(self) -> None:
        self._note("connect")

    def observe(self) -> RobotObservation:
        self.looks += 1
        if self.lost_from is not None and self.looks > self.lost_from:
            raise RobotError("the cable is out")
        shown = self.looks if self.frozen_from is None else min(self.looks, self.frozen_from)
        state = self.state.astype(np.float32)
        if self.blind_from is not None and self.looks > self.blind_from:
            state[1] = np.nan
        image = np.full((*SIZE, 3), shown % 256, dtype=np.uint8)
        return RobotObservation(self.now(), state, {"front": image})

    def send(self, command: np.ndarray) -> None:
        self.state = command.copy()
        self._note("send", command.copy())

    def hold(self, command: np.ndarray | None) -> None:
        self._note("hold", command)

    def stop(self) -> None:
        self._note("stop")

    def disconnect(self) -> None:
        self._note("disconnect")

    def _note(self, name: str, value: np.ndarray | None = None) -> None:
        self.calls.append((self.looks, name, value))

    def sent(self) -> np.ndarray:
        """[n, D]."""
        return np.array([value for _, name, value in self.calls if name == "send"])


class FakePolicy:
    """Chunks that say which request they answer and which frame they are.

    Joint 0 is the number of the request, joint 1 the frame, joint 2 what the robot's joint 1 was.

    Args:
        spoil: Request number and chunk -> what is given instead of the chunk.
    """

    def __init__(
        self,
        spoil: Callable[[int, np.ndarray], np.ndarray] = lambda number, chunk: chunk,
        fps: float = RATE,
        real_time: bool = False,
    ) -> None:
        cameras = {"front": "front"}
        self.description = PolicyDescription("arm", ARM, fps, HORIZON, cameras, real_time)
        self.spoil, self.requests, self.resets = spoil, [], 0

    def reset(self) -> None:
        self.resets += 1

    def act(self, request: Request) -> np.ndarray:
        self.requests.append(request)
        chunk = np.zeros((HORIZON, 4))
        chunk[:, 0], chunk[:, 1] = request.number, np.arange(HORIZON)
        chunk[:, 2] = request.observation.proprio[1]
        return self.spoil(request.number, chunk)


def drive(
    robot: FakeRobot | None = None,
    policy: FakePolicy | None = None,
    latency: float = 0.0,
    periods: int = 40,
    mode: str = "asynchronous",
    execute_frames: int | None = None,
    **settings,
) -> tuple[RunReport, FakeRobot, FakePolicy]:
    """A run in simulated time."""
    clock = SimulatedClock()
    robot, policy = robot or FakeRobot(), policy or FakePolicy()
    robot.now = clock.now
    told = DeploymentSettings(
        **{
            "instruction": "wave",
            "seconds": periods / RATE,
            "schedule": ScheduleSettings(mode, execute_frames),
            "safety": SafetySettings(stop_after_s=0.3, start_timeout_s=0.5),
            "keys": False,
        }
        | settings
    )
    inference = SimulatedInference(policy, clock, latency)
    return run(robot, policy, told, clock, inference), robot, policy


@pytest.fixture
def arm() -> FakeRobot:
    return FakeRobot()
