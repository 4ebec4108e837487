"""An arm of LeRobot's that a file describes, and a recording of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.vla.deploy.robots.test_config import ARM
from tests.vla.deploy.robots.test_lerobot import StandIn, lerobot_installed, mapping
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.playing.schedule_settings import ScheduleSettings
from vla.deploy.policies.policy import PolicyDescription
from vla.deploy.robots.lerobot import LeRobotArm
from vla.deploy.run import run
from vla.deploy.settings import DeploymentSettings

__all__ = ["lerobot_installed"]
LENGTH, RATE = 20, 30.0


class Swing:
    """The shoulder goes from 1 to 11 within a chunk."""

    def __init__(self, layout, cameras=None) -> None:
        told = "so101", layout, RATE, LENGTH, cameras or {}
        self.description = PolicyDescription(*told)

    def reset(self) -> None: ...

    def act(self, request):
        chunk = np.tile(np.asarray([1.0, 2, 3, 4, 5, 0.6]), (LENGTH, 1))
        chunk[:, 0] += np.linspace(0, 10, LENGTH)
        return chunk


@pytest.fixture
def recording(tmp_path) -> Path:
    """Of a swing."""
    clock = SimulatedClock()
    arm = LeRobotArm(StandIn(), mapping(), RATE, now=clock.now)
    policy = Swing(arm.description.layout)
    whole = ScheduleSettings("receding", LENGTH)
    told = {"record": tmp_path / "run", "keys": False}
    settings = DeploymentSettings("swing", LENGTH / RATE, whole, **told)
    run(arm, policy, settings, clock, SimulatedInference(policy, clock))
    return tmp_path / "run"


@pytest.fixture
def arm_file(tmp_path) -> Path:
    """Of the arm, as one writes it."""
    path = tmp_path / "my_arm.yaml"
    path.write_text(yaml.safe_dump(ARM))
    return path
