"""A tiny policy for two robots, and what they see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rvq_action import WALL_26, ActionTokenizer
from tests.rvq_action.robots import ARM, arm_chunk, fit, wall_chunk
from vla.config import VLAConfig
from vla.deploy.robots.rendering import RenderingUnavailable, select_backend
from vla.inference.fast import FastSampler
from vla.policy import VLAPolicy
from vla.samples import Observation

CAMERAS = {"arm": ("front", "wrist"), "wall": ("head",)}
SIZE = 56


def picture(seed: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    """uint8 noise."""
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def observe(robot: str, seed: int = 0, instruction: str = "pick up the cube") -> Observation:
    """One moment of a robot's motion."""
    chunk = chunk_of(robot, seed)
    images = {name: picture(seed + i) for i, name in enumerate(CAMERAS[robot])}
    return Observation(images, chunk.anchor[0], instruction, robot)


def chunk_of(robot: str, seed: int = 0):
    """A batch of one chunk."""
    make = {"arm": arm_chunk, "wall": wall_chunk}[robot]
    return make(1, seed=seed)


def learn(policy: VLAPolicy, robot: str, seed: int = 0, **more):
    """A training sample of a robot."""
    chunk = chunk_of(robot, seed)
    mask = more.pop("mask", chunk.mask[0])
    return policy.samples.to_learn(observe(robot, seed), chunk.actions[0], mask, **more)


@pytest.fixture
def fast_calls(monkeypatch) -> list:
    """The shapes that the fast path has acted for."""
    shapes, plan = [], FastSampler._plan

    def noted(self, shape, batch):
        shapes.append(shape)
        return plan(self, shape, batch)

    monkeypatch.setattr(FastSampler, "_plan", noted)
    return shapes


def answer(policy: VLAPolicy, images: int = 1, words: str = "a red cube"):
    """A training sample without a robot."""
    shown = [picture(90 + i) for i in range(images)]
    return policy.samples.to_answer(shown, "what is it?", words)


def stir(model: torch.nn.Module, seed: int = 0) -> None:
    """Large random weights, so that every part has a say in what comes out."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(1.5 * noise / fan_in**0.5)


@pytest.fixture(scope="session")
def tokenizer() -> ActionTokenizer:
    return fit({"arm": (ARM, arm_chunk(512)), "wall": (WALL_26, wall_chunk(512))})


def start(
    tokenizer: ActionTokenizer, seed: int = 0, stirred: bool = True, **overrides
) -> VLAPolicy:
    """A policy of its own for a test that changes it."""
    torch.manual_seed(seed)
    config = VLAConfig.tiny(**overrides).for_tokenizer(tokenizer, CAMERAS)
    policy = VLAPolicy.start(config, tokenizer)
    if stirred:
        stir(policy.model, seed)
    return policy


@pytest.fixture(scope="session")
def simulator() -> str:
    """Skips where nothing can be rendered."""
    try:
        return select_backend()
    except RenderingUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def policy(tokenizer) -> VLAPolicy:
    """Shared by tests that only look."""
    return start(tokenizer)
