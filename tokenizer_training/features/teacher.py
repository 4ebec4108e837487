"""What a visual teacher is: pictures in, one vector per picture and camera out; never trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol, Self

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

    @property
    def fit_frames(self) -> int:
        """Most moments of a dataset that it is fitted on; 0 for a network, which is not fitted."""
        ...

    def fit(self, batches: Iterable[Frames]) -> dict[str, Tensor]:
        """What has to be known of a dataset beforehand, from pictures of its training episodes.

        Returns:
            Tensors by name; none for a network.
        """
        ...

    def fitted(self, state: Mapping[str, Tensor]) -> Self:
        """The teacher of the dataset that `fit` returned this for."""
        ...

    def features(self, frames: Frames, instruction: str) -> Tensor:
        """Look at N moments of one episode.

        Args:
            frames: The pictures of every camera.
            instruction: The episode's task text, empty where it has none.

        Returns:
            [N, cameras, W] in the card's dtype, cameras in the order of `frames`.
        """
        ...
