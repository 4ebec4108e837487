"""The façade through which code that decodes FAST by hand decodes our tokens.

LeRobot's `pi0_fast` does not call the tokenizer's `decode`: it takes the text that FAST's
byte-pair encoder spells, turns every character c into `ord(c) + min_token`, lays these out as
[T, D] and applies `idct(x / scale)` over time. So our text spells the cosine components of the
chunk that our tokens stand for, rounded in units of 1 / `scale`. What that adds to a value is at
most `sqrt(T) / (2 scale)`.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from rvq_action.chunk import MAX_HORIZON
from rvq_action.fast_interface.repair import Tokens
from rvq_action.time_basis import to_frequencies

MIN_TOKEN = -500_000
"""Component 0 is character 500,000; ±400,000 around it are characters that text may hold."""
LARGEST = 400_000
FINEST = 10_000.0
"""Of the scale; a rounding error of 1e-4 in a component is far below that of any code."""


class Decoder(Protocol):
    """What the façade needs of a processor."""

    def decode(self, tokens: Tokens) -> np.ndarray: ...


@dataclass(frozen=True)
class FastFacade:
    """Stands where FAST has its byte-pair encoder.

    Attributes:
        processor: Decodes tokens to chunks [B, T, D].
        scale: What the components are multiplied by.
    """

    processor: Decoder
    scale: float

    def decode(self, tokens: Tokens | int) -> str:
        """The text of one sequence of token ids: T·D characters, lowest frequencies first."""
        sequence = (
            [tokens] if isinstance(tokens, int) or getattr(tokens, "ndim", 1) == 0 else tokens
        )
        chunk = torch.from_numpy(self.processor.decode([sequence]))
        components = to_frequencies(chunk, chunk.shape[1])[0].flatten()
        integers = torch.round(components.double() * self.scale).clamp(-LARGEST, LARGEST)
        return "".join(chr(int(i) - MIN_TOKEN) for i in integers)


def scale_for(largest: float) -> float:
    """The scale at which every component of chunks within ±largest has a character."""
    return min(FINEST, math.floor(LARGEST / (max(largest, 1e-3) * math.sqrt(MAX_HORIZON))))


def ignore_scale(scale: float | None) -> None:
    """Warn whoever fits with FAST's rounding, which has no counterpart here."""
    if scale is None:
        return
    warnings.warn(
        f"scale={scale} is FAST's rounding and has no counterpart here; the error follows from the "
        "number of tokens (recipe=ClosedFormRecipe(slots_per_channel=...)) or from tolerance=.",
        stacklevel=3,
    )
