"""A small policy inside LeRobot: an SO-101 with a camera, which counts its gripper to 100."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot_policy_rvq.configuration_rvq_vla import RvqVlaConfig
from torch import Tensor

from rvq_action.analytic import fit_closed_form
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.data.resolve import load_mapping
from rvq_action.embodiment import Embodiment
from rvq_action.statistics import StatisticsBuilder
from tests.test_readme import MOTORS, PERCENT, motions

ROWS, FRAMES, SIZE = 3, 30, 56
CAMERA = "observation.images.front"
WIDE = PolicyFeature(FeatureType.ACTION, (len(MOTORS),))
STATE = PolicyFeature(FeatureType.STATE, (len(MOTORS),))
PICTURE = PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE))


def save_tokenizer(path: Path) -> Path:
    """A closed form of smooth motions, which keeps the mapping of the robot."""
    chunk, mapping = motions(512, FRAMES), load_mapping("so101").with_columns(lambda _: MOTORS)
    builder = StatisticsBuilder(mapping.layout)
    builder.update(chunk)
    known = Embodiment(mapping.layout, builder.build(), float(FRAMES), mapping.to_dict())
    recipe = ClosedFormRecipe(slots_per_channel=0.5, codebook_size=64, iterations=2)
    fit_closed_form([chunk], {"so101": known}, recipe).save_pretrained(path)
    return path


def config(tokenizer: Path, **changes: Any) -> RvqVlaConfig:
    """Options of the smallest policy, with the features of a dataset of the robot."""
    told: dict[str, Any] = {
        "action_tokenizer_name": str(tokenizer),
        "shape": "mini",
        "device": "cpu",
        "push_to_hub": False,
        "input_features": {"observation.state": STATE, CAMERA: PICTURE},
        "output_features": {"action": WIDE},
    }
    return RvqVlaConfig(**{**told, **changes})


def batch(rows: int = ROWS, seed: int = 0, size: int = SIZE) -> dict[str, Any]:
    """What LeRobot's DataLoader gives: the robot's own numbers, pictures in 0..1."""
    chunk = motions(64, FRAMES)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(64, generator=generator)[:rows]
    pixels = torch.randint(0, 256, (rows, 3, size, size), generator=generator)
    assert chunk.anchor is not None
    return {
        "action": chunk.actions[drawn] * PERCENT,
        "action_is_pad": torch.zeros(rows, FRAMES, dtype=torch.bool),
        "observation.state": chunk.anchor[drawn] * PERCENT,
        CAMERA: pixels / 255,
        "task": ["pick up the tape"] * rows,
    }


def observation(rows: int = 1, seed: int = 0) -> dict[str, Any]:
    """The same without a demonstration."""
    seen = batch(rows, seed)
    return {key: value for key, value in seen.items() if not key.startswith("action")}


def equal(left: Tensor, right: Tensor) -> bool:
    return torch.allclose(left, right, atol=1e-5)
