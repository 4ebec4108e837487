"""Robots that need no simulator, and demonstrations and a policy for those that do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rvq_action.data.dataset import RobotDataset
from rvq_action.data.windows import Windows
from rvq_action.embodiment import Embodiment
from tests.rvq_action.robots import RECIPE, embodiment_of
from vla.config import VLAConfig
from vla.data import demo_workers, demos
from vla.data.demo_settings import DemoSettings
from vla.policy import VLAPolicy

SIZE = 56
DEMOS = DemoSettings(("reach-v3", "drawer-close-v3"), 2, image_size=SIZE, cameras=("corner3",))


class FakeRobot:
    """Solves its task with step number `seed`; its state says seed and step."""

    def __init__(self, task: str = "a") -> None:
        self.task, self.closed = task, False

    def reset(self, seed: int) -> None:
        self.seed, self.steps, self.actions = seed, 0, []

    def state(self) -> np.ndarray:
        return np.array([self.seed, self.steps], dtype=np.float32)

    def images(self) -> dict[str, np.ndarray]:
        return {"front": np.full((5, 4, 3), self.steps, dtype=np.uint8)}

    def step(self, action: np.ndarray) -> bool:
        self.steps += 1
        self.actions.append(action)
        return self.steps == self.seed

    def signals(self) -> dict[str, float]:
        return {"success": float(self.steps == self.seed)}

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="session")
def recorded(simulator, tmp_path_factory) -> Path:
    """Two demonstrations each of two tasks."""
    out = tmp_path_factory.mktemp("rollout") / "demos"

    def record_all(jobs, workers):
        for job in jobs:
            demo_workers.record(job)
            yield job

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demos, "record_all", record_all)
        demos.record_demos(DEMOS, out, progress=False)
    demo_workers._close_robots()
    return out


@pytest.fixture(scope="session")
def policy(recorded) -> VLAPolicy:
    """Untrained, for the robot of the demonstrations."""
    from rvq_action.analytic import fit_closed_form

    dataset = RobotDataset.open(recorded)
    chunk = Windows(dataset.episodes, 20).chunk(slice(None))
    known = embodiment_of(dataset.layout, chunk)
    told = dataset.mapping.to_dict()
    robot = Embodiment(known.layout, known.statistics, dataset.fps, told)
    tokenizer = fit_closed_form([chunk], {dataset.embodiment: robot}, RECIPE)
    torch.manual_seed(0)
    cameras = {dataset.embodiment: ("corner3",)}
    return VLAPolicy.start(VLAConfig.tiny().for_tokenizer(tokenizer, cameras), tokenizer)
