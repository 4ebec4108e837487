"""The stand-in that needs no weights: principal components of the small picture.

A picture is averaged over areas down to 32 x 32 RGB (3072 numbers between 0 and 1); its features
are the first 64 principal components over the training episodes of the dataset, one transform per
camera. They are not whitened, so that what changes most counts most, but divided by one number
such that their total variance is 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

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
        state: From `fit`: `CAMERA/mean` [P] and `CAMERA/components` [P, W], float32.
    """

    settings: PixelSettings = PixelSettings()
    state: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def reads_instruction(self) -> bool:
        return False

    @property
    def fit_frames(self) -> int:
        return self.settings.fit_frames

    @property
    def card(self) -> TeacherCard:
        width = self.settings.components
        return TeacherCard("pixels", asdict(self.settings), "", "", width, "float32")

    def fit(self, batches: Iterable[Frames]) -> dict[str, Tensor]:
        """Principal components of every camera; the small pictures are all that is kept."""
        small: dict[str, Tensor] = {}
        count = 0
        for batch in batches:
            for camera, frames in batch.items():
                if camera not in small:
                    small[camera] = self._block()
                small[camera][count : count + len(frames)] = shrink(frames, self.settings.side)
            count += len(next(iter(batch.values())))
        state = {}
        for camera, block in small.items():
            mean, components = principal_components(block[:count], self.settings.components)
            state |= {f"{camera}/mean": mean, f"{camera}/components": components}
        return state

    def fitted(self, state: Mapping[str, Tensor]) -> PixelTeacher:
        return replace(self, state=state)

    def features(self, frames: Frames, instruction: str) -> Tensor:
        """[N, cameras, W] float32; pixels know no instruction."""
        return torch.stack([self._project(camera, f) for camera, f in frames.items()], dim=1)

    def _block(self) -> Tensor:
        """Room for all small pictures of a camera: kept one by one, they would scatter memory."""
        return torch.empty(self.settings.fit_frames, 3 * self.settings.side**2)

    def _project(self, camera: str, frames: np.ndarray) -> Tensor:
        mean, components = (self.state[f"{camera}/{name}"] for name in ("mean", "components"))
        return (shrink(frames, self.settings.side) - mean) @ components


def shrink(frames: np.ndarray, side: int) -> Tensor:
    """[N, H, W, 3] uint8 -> [N, 3 side^2] float32 in [0, 1], averaged over areas."""
    pictures = torch.from_numpy(frames).float().permute(0, 3, 1, 2)
    return F.adaptive_avg_pool2d(pictures, side).flatten(1) / 255
