"""Wide features, narrowed to their leading components once, before a run reads them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tokenizer_training.features.cache import DatasetFeatures
from tokenizer_training.features.components import MOST_COMPONENTS, leading_components

BLOCK = 2048
"""Most rows projected at a time: of 6144 numbers 50 MB."""


class Narrowing(nn.Module):
    """Teacher features [..., F] -> their W leading components.

    A module, so that a checkpoint keeps it beside the heads that know only its components: on
    another processor equal features may have leading components that are turned a little.

    Args:
        mean: [F].
        directions: [F, W].
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, mean: Tensor, directions: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("directions", directions)

    @classmethod
    def fitted(cls, features: Tensor) -> Narrowing:
        """The one for features like these, [N, F] of fitted episodes."""
        return cls(*leading_components(features))

    @property
    def width(self) -> int:
        """W, components that are left."""
        return self.directions.shape[1]

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) @ self.directions


class NarrowFeatures:
    """The leading components of one dataset's features, all of them in memory.

    They are projected here, block by block. Projecting what each batch looks up instead would do
    the same rows again at every step.

    Args:
        features: Of the dataset.
        narrowing: Of them.
    """

    def __init__(self, features: DatasetFeatures, narrowing: Narrowing) -> None:
        self.features, self.narrowing = features, narrowing
        self._components = torch.empty(features.num_rows, narrowing.width)
        first = 0
        for block in features.blocks(BLOCK):
            end = first + len(block)
            self._components[first:end] = narrowing(block)
            first = end

    def lookup(
        self, episodes: np.ndarray | Tensor, frames: np.ndarray | Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `DatasetFeatures.lookup`, but [N, W] float32 components."""
        rows, known = self.features.locate(episodes, frames)
        components = torch.zeros(len(known), self._components.shape[1])
        components[known] = self._components[torch.from_numpy(rows)]
        return components, known


Features = DatasetFeatures | NarrowFeatures
"""What training looks features up in."""


def is_wide(features: DatasetFeatures) -> bool:
    """Whether a frame has more numbers, all cameras together, than are read of it."""
    return len(features.cameras) * features.width > MOST_COMPONENTS
