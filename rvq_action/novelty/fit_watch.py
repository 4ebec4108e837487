"""Noticing, while encoding, that a tokenizer does not fit what it is given."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rvq_action.novelty.calibration import Calibration
from rvq_action.novelty.chunk_fit import measure
from rvq_action.playback import Playback

if TYPE_CHECKING:
    from rvq_action.tokenizer_state import TokenizerState

LEAST, MOST = 32, 64
"""Chunks that tell something, and that are looked at of one call."""
FEWER, LIMIT = 0.25, 2.0
"""More than three quarters of the chunks have to score above the limit."""
CAUSES = (
    "It is the residual: all tokens together leave too much over, as of motion at another frame "
    "rate (say `fps`), of chunks much longer, or of tasks that were not fitted.",
    "It is saturation: actions or proprio lie beyond what was usual, as in other units or of "
    "another robot; rows of a dataset or robot go through its mapping first "
    "(`tokenizer.mapping(embodiment)`, or --mapping).",
)


class OutOfDistributionWarning(UserWarning):
    """The first chunks that a tokenizer encoded are not like those that it was fitted on."""


class FitWatch:
    """Warns once where a robot's first chunks are not like those that a tokenizer was fitted on.

    It gathers the out-of-distribution scores of the first chunks, over calls where they come one by
    one, speaks or not, and never looks again. An odd chunk says nothing, nor do many: three
    quarters of them have to score above 2. Held-out episodes of a robot do not, unless the episodes
    that were fitted do not tell what it does; other units do, as do most other rates and robots.

    Attributes:
        name: Of the robot.
        calibration: What is usual; None where the tokenizer stores nothing of use.
    """

    def __init__(self, name: str, calibration: Calibration | None) -> None:
        self.name, self.calibration = name, calibration
        self._found: list[Tensor] = []
        self._count = 0

    @classmethod
    def of(cls, tokenizer: TokenizerState, name: str) -> FitWatch:
        """That of a robot the tokenizer knows."""
        try:
            return cls(name, Calibration.of(tokenizer, name))
        except ValueError:
            return cls(name, None)

    def look(self, playback: Playback) -> None:
        """Look at a batch that `ActionTokenizer.encode` was given."""
        if self.calibration is None or self._count >= LEAST or playback.known.watch.warned:
            return
        count = min(len(playback.chunk), MOST)
        rows = torch.linspace(0, len(playback.chunk) - 1, count, device=playback.given.x.device)
        measured = measure(playback.rows(rows.round().long()))
        self._found.append(torch.stack(self.calibration.relative(*measured)).cpu())
        self._count += count
        if self._count >= LEAST:
            self._judge(torch.cat(self._found, dim=1))
            self._found.clear()

    def _judge(self, found: Tensor) -> None:
        """Residuals and saturations [2, N] of the first chunks, in units of the worst percent."""
        scores = found.amax(0)
        if scores.quantile(FEWER) <= LIMIT:
            return
        cause = CAUSES[int(found.median(1).values.argmax())]
        warnings.warn(
            f"The first {len(scores)} chunks of {self.name!r} are not like those that this "
            f"tokenizer was fitted on: a typical one has an out-of-distribution score of "
            f"{scores.median():.2g} (1 is worse than 99 % of its calibration windows). {cause} "
            "`rvq-action check DATA --tokenizer DIR` judges a whole dataset. If the data are "
            "right, fit a tokenizer on them with `rvq-train fit`.",
            OutOfDistributionWarning,
            stacklevel=4,
        )
