"""What a visual teacher is: pictures in, one vector per picture and camera out; never trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

Frames = Mapping[str, np.ndarray]
"""Pictures of the same N moments by camera, [N, H, W, 3] uint8 RGB each."""


@dataclass(frozen=True)
class TeacherCard:
    """What a cache says of the teacher that made it.

    Attributes:
        kind: `pixels`, `vision` or `qwen2_5_vl`.
        settings: Everything that decides the features; JSON types.
        weights: Identity of a network's weights, empty for a teacher without.
        source: Where the weights came from; decides nothing.
        width: W, features per camera.
        dtype: Type that features are kept in, as torch names it.
    """

    kind: str
    settings: dict[str, Any]
    weights: str
    source: str
    width: int
    dtype: str

    @cached_property
    def fingerprint(self) -> str:
        """Equal for teachers that give equal features."""
        decisive = {key: value for key, value in asdict(self).items() if key != "source"}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def is_fitted(self) -> bool:
        """Whether it was fitted on training episodes, instead of having weights."""
        return not self.weights

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "fingerprint": self.fingerprint}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TeacherCard:
        """Inverse of `to_dict`.

        Raises:
            KeyError: A part is missing.
        """
        return cls(**{name: data[name] for name in cls.__dataclass_fields__})


class Teacher(Protocol):
    """A frozen judge of pictures."""

    @property
    def card(self) -> TeacherCard: ...

    @property
    def reads_instruction(self) -> bool:
        """Whether its features depend on the episode's task text."""
        ...

    def look(self, frames: Frames, instruction: str) -> Tensor:
        """Look at N moments of one episode.

        Args:
            frames: The pictures of every camera.
            instruction: The episode's task text, empty where it has none.

        Returns:
            [N, cameras, P], cameras in the order of `frames`. These are the features, P = W, in the
            card's dtype; of a teacher that is fitted what its features are made of, float32.
        """
        ...


@runtime_checkable
class FittedTeacher(Teacher, Protocol):
    """A teacher without weights: what features are is fitted to training episodes of a dataset.

    Every picture is looked at once. From the looks it is fitted, and of them features are made, for
    every camera by itself.
    """

    @property
    def fit_frames(self) -> int:
        """Most moments of a dataset that it is fitted on."""
        ...

    @property
    def look_width(self) -> int:
        """P, numbers of a look at one picture."""
        ...

    def fit(self, looks: Tensor) -> dict[str, Tensor]:
        """What has to be known of a camera beforehand.

        Args:
            looks: [N, P] at pictures of training episodes.

        Returns:
            Tensors by name.
        """
        ...

    def project(self, looks: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """Features of a camera's pictures.

        Args:
            looks: [N, P].
            state: What `fit` returned for the camera.

        Returns:
            [N, W] in the card's dtype.
        """
        ...
