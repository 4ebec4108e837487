"""What residual and saturation are usual for a tokenizer, kept in its metadata.

Calibration windows are windows that the tokenizer was fitted on and, where there are any,
validation windows; whichever are worse decide. Codebooks know the windows that they were fitted
on, so residuals of those alone would be too small a measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rvq_action.chunk import ActionChunk
from rvq_action.novelty.chunk_fit import ChunkFit, measure_chunk

if TYPE_CHECKING:
    from rvq_action.tokenizer import ActionTokenizer
    from rvq_action.tokenizer_state import TokenizerState

KEY = "calibration"
"""Under which an artefact's metadata keep it."""
USUAL, WORST = 0.5, 0.99
LEAST_RESIDUAL, LEAST_SATURATION = 1e-6, 1e-2
"""What is usual is never below these: nobody minds so little."""


@dataclass(frozen=True)
class Calibration:
    """What is usual for an embodiment.

    Attributes:
        residual: Median and 99 % quantile over the calibration windows.
        saturation: The same.
    """

    residual: tuple[float, float]
    saturation: tuple[float, float]

    @classmethod
    def of(cls, tokenizer: TokenizerState, embodiment: str) -> Calibration:
        """The one that a tokenizer stores for an embodiment.

        Raises:
            ValueError: It stores none, or a damaged one.
        """
        stored = tokenizer.metadata.get(KEY, {}).get(embodiment)
        if stored is None:
            raise ValueError(
                f"This tokenizer stores no calibration for {embodiment!r}, so it cannot tell what "
                "is usual there. `rvq_action.novelty.calibration.calibrated(tokenizer, chunks)` "
                "makes one of chunks of its training data; then save it again."
            )
        try:
            parts = [part for part in (stored["fitted"], stored["validation"]) if part]
            residual, saturation = (
                (_largest(parts, name, 0), _largest(parts, name, 1))
                for name in ("residual", "saturation")
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"The calibration for {embodiment!r} in the tokenizer's metadata is damaged "
                f"({error!r}). Export the tokenizer again."
            ) from error
        return cls(residual, saturation)

    @property
    def usual_residual(self) -> float:
        """The median."""
        return max(self.residual[0], LEAST_RESIDUAL)

    def relative(self, residual: Tensor, saturation: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals and saturations [B] in units of the worst percent."""
        return (
            residual / max(self.residual[1], LEAST_RESIDUAL),
            saturation / max(self.saturation[1], LEAST_SATURATION),
        )

    def judge(self, residual: Tensor, saturation: Tensor) -> ChunkFit:
        """Residuals and saturations [B] against what is usual."""
        worst = torch.maximum(*self.relative(residual, saturation))
        return ChunkFit(residual, saturation, worst)


def _largest(parts: list[dict], name: str, quantile: int) -> float:
    return max(float(part[name][quantile]) for part in parts)


def calibrated(
    tokenizer: ActionTokenizer,
    fitted: Sequence[ActionChunk],
    validation: Sequence[ActionChunk] = (),
) -> ActionTokenizer:
    """The tokenizer with a calibration in its metadata; that of other embodiments stays.

    Args:
        tokenizer: Left as it is.
        fitted: Windows that it was fitted on, one batch per embodiment.
        validation: Windows that it was not fitted on, one batch per embodiment that has them.
    """
    known = tokenizer.metadata.get(KEY, {})
    parts = {"fitted": fitted, "validation": validation}
    measured: dict[str, dict[str, Any]] = {
        chunk.embodiment: dict.fromkeys(parts) for chunk in fitted
    }
    for part, chunks in parts.items():
        for chunk in chunks:
            measured[chunk.embodiment][part] = _summary(*measure_chunk(tokenizer, chunk))
    return replace(tokenizer, metadata={**tokenizer.metadata, KEY: known | measured})


def _summary(residual: Tensor, saturation: Tensor) -> dict[str, Any]:
    named = {"residual": residual, "saturation": saturation}
    quantiles = torch.tensor([USUAL, WORST], dtype=torch.float64)
    found = {n: values.cpu().double().quantile(quantiles).tolist() for n, values in named.items()}
    return {"windows": len(residual), **found}
