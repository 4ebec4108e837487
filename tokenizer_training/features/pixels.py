"""The stand-in that needs no weights: principal components of the small picture.

A picture is averaged over areas down to 32 x 32 RGB (3072 numbers between 0 and 1); its features
are the first 64 principal components over the training episodes of the dataset, one transform per
camera. They are not whitened, so that what changes most counts most, but divided by one number
such that their total variance is 1.

All small pictures wait on disk until the components are known: 12 KB per frame and camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tokenizer_training.features.components import principal_components
from tokenizer_training.features.teacher import Frames, TeacherCard


@dataclass(frozen=True)
class PixelSettings:
    """Attributes:
    side: Pixels of the small picture's side.
    components: W, principal components kept per camera.
    fit_frames: Most moments of a dataset that the components are computed from.
    """

    side: int = 32
    components: int = 64
    fit_frames: int = 2048

    def __post_init__(self) -> None:
        if not 0 < self.components <= 3 * self.side**2:
            raise ValueError(
                f"--components must lie between 1 and 3 x side^2 = {3 * self.side**2}, got "
                f"{self.components}."
            )
        if self.fit_frames < 2:
            raise ValueError(f"--fit_frames must be at least 2, got {self.fit_frames}.")


@dataclass(frozen=True)
class PixelTeacher:
    """Principal components of small pictures.

    Attributes:
        settings: How small, how many.
    """

    settings: PixelSettings = PixelSettings()

    @property
    def reads_instruction(self) -> bool:
        return False

    @property
    def fit_frames(self) -> int:
        return self.settings.fit_frames

    @property
    def look_width(self) -> int:
        """P = 3 side^2, the numbers of a small picture."""
        return 3 * self.settings.side**2

    @property
    def card(self) -> TeacherCard:
        width = self.settings.components
        return TeacherCard("pixels", asdict(self.settings), "", "", width, "float32")

    def look(self, frames: Frames, instruction: str) -> Tensor:
        """Small pictures, [N, cameras, P] float32; pixels know no instruction."""
        return torch.stack([shrink(f, self.settings.side) for f in frames.values()], dim=1)

    def fit(self, looks: Tensor) -> dict[str, Tensor]:
        """Mean [P] and principal components [P, W], float32, of a camera's small pictures."""
        mean, components = principal_components(looks, self.settings.components)
        return {"mean": mean, "components": components}

    def project(self, looks: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """[N, W] float32."""
        return (looks - state["mean"]) @ state["components"]


def shrink(frames: np.ndarray, side: int) -> Tensor:
    """[N, H, W, 3] uint8 -> [N, 3 side^2] float32 in [0, 1], averaged over areas."""
    pictures = torch.from_numpy(frames).float().permute(0, 3, 1, 2)
    return F.adaptive_avg_pool2d(pictures, side).flatten(1) / 255
