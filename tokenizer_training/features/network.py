"""What frozen networks share as teachers: weights, a device, a precision; nothing to fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from tokenizer_training.features.teacher import Frames, TeacherCard
from tokenizer_training.features.weights import (
    identity,
    load_image_processor,
    load_network,
    locate,
)

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NO_DECISION = ("model", "precision", "device")
"""Settings that the card has in another form, or that do not change the features."""


@dataclass(frozen=True)
class NetworkSettings:
    """Attributes:
    model: Folder of the model, or its id on the hub.
    precision: `float32`, `bfloat16` or `auto`: bfloat16 on a GPU. Features are kept in it too.
    device: A device as torch names it, or `auto`.
    """

    model: str
    precision: str = "auto"
    device: str = "auto"


class NetworkTeacher(ABC):
    """A frozen network.

    Args:
        settings: Which one, and how.

    Raises:
        FileNotFoundError: There is no such model.
        ValueError: Its folder is incomplete, or a setting makes no sense.
    """

    kind: ClassVar[str]

    def __init__(self, settings: NetworkSettings) -> None:
        self.source = settings.model
        self.device = choose_device(settings.device)
        self.dtype = choose_precision(settings.precision, self.device)
        self.folder = locate(settings.model)
        given = asdict(settings)
        self.decisive = {name: value for name, value in given.items() if name not in NO_DECISION}

    @property
    @abstractmethod
    def width(self) -> int:
        """W, features per camera."""

    @abstractmethod
    def look(self, frames: Frames, instruction: str) -> Tensor: ...

    @property
    def reads_instruction(self) -> bool:
        return False

    @cached_property
    def card(self) -> TeacherCard:
        return TeacherCard(
            kind=self.kind,
            settings=self.decisive,
            weights=identity(self.folder),
            source=self.source,
            width=self.width,
            dtype=str(self.dtype).removeprefix("torch."),
        )

    @cached_property
    def processor(self) -> Any:
        """The model's image processor."""
        return load_image_processor(self.folder)

    def load(self, unused: str | None = None) -> Any:
        """The model without a head, frozen, in the chosen precision, still on the CPU.

        Args:
            unused: A part of the model whose weights may be missing.

        Raises:
            ValueError: Other weights are missing; transformers would draw them at random.
        """
        network, missing = load_network(self.folder, self.dtype)
        missing = [name for name in missing if unused is None or unused not in name]
        if missing:
            raise ValueError(
                f"{self.source} has no weights for {missing[0]} ({len(missing)} missing), so its "
                "features would be random. Give a complete model, or another --pooling."
            )
        return network.eval().requires_grad_(False)


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one.

    Raises:
        ValueError: Torch knows no such device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name} cannot be used ({error}). Give auto or cpu.") from error


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU, else bfloat16.

    Raises:
        ValueError: It is another one.
    """
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in PRECISIONS:
        raise ValueError(f"--precision {name}: give auto, {' or '.join(PRECISIONS)}.")
    return PRECISIONS[name]
