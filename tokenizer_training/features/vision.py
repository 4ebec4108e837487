"""Any vision model of transformers as a teacher: DINOv2, SigLIP, CLIP, ViT, ...

Every picture is looked at by itself; the instruction is not used. Of a model of pictures *and*
text, the half for pictures is taken. The *pooling* says what is kept of a picture:

pooled   the model's own pooled output: the class token after the last norm for DINOv2 and CLIP,
         attention pooling for SigLIP
class    the first token of the last hidden state
mean     the mean over all tokens of the last hidden state
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tokenizer_training.features.network import NetworkSettings, NetworkTeacher
from tokenizer_training.features.teacher import Frames

POOLINGS = ("pooled", "class", "mean")


@dataclass(frozen=True)
class VisionSettings(NetworkSettings):
    """Attributes:
    pooling: One of `POOLINGS`.
    """

    pooling: str = "pooled"

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"--pooling {self.pooling}: give {', '.join(POOLINGS)}.")


class VisionTeacher(NetworkTeacher):
    """A frozen vision model."""

    kind = "vision"

    def __init__(self, settings: VisionSettings) -> None:
        super().__init__(settings)
        self.pooling = settings.pooling

    @cached_property
    def width(self) -> int:
        """W, found by looking at a black picture."""
        with torch.inference_mode():
            return self.look({"": np.zeros((1, 32, 32, 3), np.uint8)}, "").shape[-1]

    @cached_property
    def network(self) -> torch.nn.Module:
        """The model, or its half for pictures."""
        network = self.load(unused=None if self.pooling == "pooled" else "pooler")
        return getattr(network, "vision_model", network).to(self.device)

    def look(self, frames: Frames, instruction: str) -> Tensor:
        """[N, cameras, W] in the card's dtype, on the CPU."""
        pictures = [picture for view in frames.values() for picture in view]
        inputs = self.processor(pictures, return_tensors="pt", input_data_format="channels_last")
        vectors = self._pool(self.network(**inputs.to(self.device, self.dtype)))
        return vectors.flatten(1).unflatten(0, (len(frames), -1)).transpose(0, 1).cpu()

    def _pool(self, output: Any) -> Tensor:
        if self.pooling == "class":
            return output.last_hidden_state[:, 0]
        if self.pooling == "mean":
            return output.last_hidden_state.float().mean(1).to(self.dtype)
        if output.get("pooler_output") is None:
            raise ValueError(f"{self.source} has no pooled output; give --pooling class or mean.")
        return output.pooler_output
