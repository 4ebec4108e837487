"""A small eval set from the real data, and a tokenizer with our API that needs no training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from rvq_action.data.dataset import RobotDataset
from rvq_action.data.split import split_episodes
from rvq_action.data.windows import Windows, horizon_frames
from rvq_action.relative import to_absolute, to_relative


class PrincipalComponentTokenizer:
    """Scalar-quantised principal components of the chunk: S slots of K levels, any prefix decodes.

    Level 0 of a slot divides ±3 standard deviations into V intervals, each further level divides
    the interval before it.
    """

    levels, size = 2, 16

    def __init__(self, dataset: RobotDataset, slots: int = 10) -> None:
        self._layout, self._name = dataset.layout, dataset.embodiment
        split = split_episodes(dataset.reader.num_episodes)
        windows = Windows([dataset.episodes[i] for i in split.train], horizon_frames(dataset.fps))
        chunk = windows.chunk(slice(None))
        flat = to_relative(chunk.actions, chunk.anchor, self._layout, chunk.mask).flatten(1)
        self._mean = flat.mean(0)
        _, values, vectors = torch.pca_lowrank(flat, slots, niter=4)
        self._vectors = vectors
        self._scale = values / math.sqrt(len(flat))
        self.token_order = [(s, k) for k in range(self.levels) for s in range(slots)]
        self.bits_per_token = math.log2(self.size)
        self.metadata = {"split": {dataset.name: split.to_dict()}}
        self.embodiments = (self._name,)

    def layout(self, embodiment: str):
        assert embodiment == self._name
        return self._layout

    def encode(self, actions, mask=None, proprio=None, embodiment=None, fps=None):
        relative = to_relative(actions, proprio, self._layout, mask).flatten(1)
        unit = ((relative - self._mean) @ self._vectors / self._scale / 6 + 0.5).clamp(0, 1 - 1e-6)
        digits = []
        for _ in range(self.levels):
            unit = unit * self.size
            digits.append(unit.floor())
            unit = unit - digits[-1]
        return torch.stack(digits, -1).long()

    def decode(self, codes, horizon, proprio=None, embodiment=None, fps=None):
        unit = torch.full(codes.shape[:2], 0.5)
        for level in reversed(range(self.levels)):
            digit = codes[..., level]
            unit = torch.where(digit < 0, 0.5, (digit + unit) / self.size)
        latent = (unit - 0.5) * 6 * self._scale
        relative = (latent @ self._vectors.T + self._mean).unflatten(1, (horizon, -1))
        return to_absolute(relative, proprio, self._layout)


@pytest.fixture(scope="session")
def so101(shared_data) -> Path:
    return shared_data / "so101_pick_tape"


@pytest.fixture(scope="session")
def so101_tokenizer(so101) -> PrincipalComponentTokenizer:
    return PrincipalComponentTokenizer(RobotDataset.open(so101))


@pytest.fixture(scope="session")
def so101_set(so101):
    from analysis.evalset import load_eval_sets

    return load_eval_sets([so101], [], None, {})[0]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
