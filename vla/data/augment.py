"""What happens to a robot's pictures and state in training, so that neither is learnt by heart."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from rvq_action.normalize import Normalizer
from vla.images import Image


@dataclass(frozen=True)
class View:
    """One draw of `ImageAugmentation`: what happens to every picture of a camera in a sample.

    Attributes:
        box: Left, top, right, bottom of the part that is kept, as shares of the picture.
        brightness: Factor; 1 leaves it.
        contrast: Factor.
        saturation: Factor.
    """

    box: tuple[float, float, float, float]
    brightness: float
    contrast: float
    saturation: float

    def apply(self, image: Image) -> Image:
        """The picture changed, of the same size; uint8 [H, W, 3]."""
        from PIL import Image as Pillow
        from PIL import ImageEnhance

        height, width = image.shape[:2]
        left, top, right, bottom = self.box
        part = (left * width, top * height, right * width, bottom * height)
        seen = Pillow.fromarray(image)
        if self.box != WHOLE:
            seen = seen.resize((width, height), Pillow.Resampling.BILINEAR, box=part)
        for change, factor in (
            (ImageEnhance.Brightness, self.brightness),
            (ImageEnhance.Contrast, self.contrast),
            (ImageEnhance.Color, self.saturation),
        ):
            seen = seen if factor == 1 else change(seen).enhance(factor)
        return np.asarray(seen)


WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class ImageAugmentation:
    """How much robots' pictures may change. They are never mirrored: left is left.

    Attributes:
        crop: Smallest share of each side that is kept; 1 crops nothing.
        brightness: Largest change of the factor.
        contrast: Largest change of the factor.
        saturation: Largest change of the factor.
    """

    crop: float = 0.95
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def __post_init__(self) -> None:
        changes = self.brightness, self.contrast, self.saturation
        if not 0 < self.crop <= 1 or not all(0 <= change < 1 for change in changes):
            raise ValueError(
                f"crop must lie in (0, 1] and the changes in [0, 1), got {asdict(self)}."
            )

    def draw(self, rng: np.random.Generator) -> View:
        """The change of one camera in one sample."""
        side = rng.uniform(self.crop, 1)
        left, top = rng.uniform(0, 1 - side, 2)
        box = (left, top, left + side, top + side) if self.crop < 1 else WHOLE
        most = np.array([self.brightness, self.contrast, self.saturation])
        return View(box, *(1 + most * rng.uniform(-1, 1, 3)).tolist())


@dataclass(frozen=True)
class ProprioNoise:
    """How the state that a prompt tells differs from the one that actions are relative to.

    Attributes:
        drop: Share of the samples in which no channel is told.
        perturb: Standard deviation of what is added to the others, as a share of half the
            channel's usual range.
    """

    drop: float = 0.1
    perturb: float = 0.02

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1 or not 0 <= self.perturb < 1:
            raise ValueError(f"drop lies in [0, 1] and perturb in [0, 1), got {asdict(self)}.")

    def apply(self, proprio: Tensor, known: Normalizer, rng: np.random.Generator) -> Tensor:
        """What is told of a state.

        Args:
            proprio: [D], physical units, NaN where unknown.
            known: The robot's normaliser of proprio.
            rng: Where chance comes from.
        """
        dropped, noise = rng.random() < self.drop, rng.standard_normal(len(proprio))
        if dropped:
            return torch.full_like(proprio, torch.nan)
        return proprio + self.perturb * known.scale * torch.from_numpy(noise).float()
