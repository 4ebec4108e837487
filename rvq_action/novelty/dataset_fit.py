"""Whether a tokenizer fits a whole dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rvq_action.chunk import ActionChunk
from rvq_action.novelty.calibration import Calibration
from rvq_action.novelty.chunk_fit import measure_chunk

if TYPE_CHECKING:
    from rvq_action.tokenizer import ActionTokenizer

MOST_BEYOND, MOST_USUAL = 0.2, 2.0
"""Held-out episodes of the same robot stay well below these."""


@dataclass(frozen=True)
class DatasetFit:
    """How much a whole dataset is like training.

    Attributes:
        chunks: How many were looked at.
        beyond: Share of them that are worse than the worst percent of the calibration windows.
        usual: Their median residual, in units of that of the calibration windows.
    """

    chunks: int
    beyond: float
    usual: float

    @property
    def fits(self) -> bool:
        """Whether a tokenizer may be used on it."""
        return self.beyond <= MOST_BEYOND and self.usual <= MOST_USUAL

    def __str__(self) -> str:
        verdict = "fits" if self.fits else "does not fit"
        return (
            f"The tokenizer {verdict}: {self.beyond:.1%} of {self.chunks} chunks are worse than "
            f"99% of its calibration windows, and the median error is {self.usual:.2g} times "
            "theirs."
        )


def fit_of(tokenizer: ActionTokenizer, chunks: Iterable[ActionChunk]) -> DatasetFit:
    """Judge the chunks of one embodiment.

    Raises:
        ValueError: The tokenizer stores no calibration for it, or there is no chunk.
    """
    scores, errors = [], []
    for chunk in chunks:
        calibration = Calibration.of(tokenizer, chunk.embodiment)
        fit = calibration.judge(*measure_chunk(tokenizer, chunk)).numpy()
        scores.append(fit.out_of_distribution)
        errors.append(fit.residual / calibration.usual_residual)
    if not scores:
        raise ValueError("There is no chunk to judge.")
    beyond = float((np.concatenate(scores) > 1).mean())
    return DatasetFit(sum(map(len, scores)), beyond, float(np.median(np.concatenate(errors))))
