"""AR-modelability: the bits that a small autoregressive model needs for a chunk's tokens.

Read against the error: a tokenizer may need fewer tokens and still be harder to predict. So the
bits are held against those of FAST at equal MSE.

What is counted are the tokens that a codec emits, as in `bits_mean`: the end token of adaptive
length is one of them, while FAST's end, which follows from T and D, is given to it for nothing. By
the chain rule one model gives the bits of every prefix of a tokenizer too.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analysis import autoregression
from analysis.autoregression import Sequences
from analysis.codecs import ABSENT, Codec
from analysis.evalset import Batch, EvalSet
from rvq_action.data.split import split_episodes

TRAINING_WINDOWS = 8192
VALIDATION_SHARE = 0.2
LONGEST = 256
"""Longer sequences are not measured: the time of a step grows with their length and its square."""


class Modelability:
    """Trains one model per codec on the training windows of a dataset.

    Args:
        data: The windows.
        seed: Of the models.

    Attributes:
        training: The M training windows.

    Raises:
        ValueError: There is only one training episode.
    """

    def __init__(self, data: EvalSet, seed: int = 0) -> None:
        episodes, self.training = data.training_windows(TRAINING_WINDOWS)
        self._seed = seed
        self._inner = torch.from_numpy(_validation(episodes))
        self._anchors = _standardised(self.training, data.batch)

    def bits(
        self,
        codec: Codec,
        seen: np.ndarray,
        judged: np.ndarray,
        order: np.ndarray | None = None,
    ) -> np.ndarray | None:
        """Bits of every token, 0 where there is none; None where the sequences are too long.

        Args:
            codec: Says level and codebook size of every position.
            seen: [M, L] token ids of the training windows.
            judged: [N, L'] token ids of the scored windows.
            order: [L] positions in the order in which the tokens are to be emitted; as they
                stand where omitted.

        Returns:
            [N, max(L, L')] in the order of emission.
        """
        length = max(seen.shape[1], judged.shape[1])
        if length > LONGEST:
            return None
        places = np.arange(length) if order is None else order
        training, held_out = (
            Sequences(torch.from_numpy(_widened(ids, length)[:, places]), anchor)
            for ids, anchor in zip((seen, judged), self._anchors, strict=True)
        )
        model = autoregression.fit(
            training.take(torch.where(~self._inner)[0]),
            training.take(torch.where(self._inner)[0]),
            codec.levels(length)[places],
            codec.sizes(length)[places],
            self._seed,
        )
        return autoregression.bits(model, held_out)


def slot_major(levels: np.ndarray) -> np.ndarray:
    """Positions [L] of level-major tokens in slot-major order: s0q0 s0q1 ... s1q0 ...

    Args:
        levels: [L] level of every token, rising; every level has the same slots.
    """
    count = int(levels.max()) + 1
    return np.arange(len(levels)).reshape(count, -1).T.reshape(-1)


def _widened(tokens: np.ndarray, length: int) -> np.ndarray:
    missing = ((0, 0), (0, length - tokens.shape[1]))
    return np.pad(tokens, missing, constant_values=ABSENT)


def _standardised(training: Batch, judged: Batch) -> list[Tensor]:
    """The anchors [N, D] of two batches in units of the first one's spread; unknown ones are 0."""
    if training.anchor is None:
        return [torch.zeros(len(batch), 1) for batch in (training, judged)]
    mean = training.anchor.mean(0)
    spread = training.anchor.std(0, correction=0).clamp(min=1e-6)
    return [_scaled(batch, mean, spread) for batch in (training, judged)]


def _scaled(batch: Batch, mean: Tensor, spread: Tensor) -> Tensor:
    assert batch.anchor is not None
    scaled = (batch.anchor - mean) / spread
    return scaled if batch.anchor_mask is None else scaled * batch.anchor_mask


def _validation(episode: np.ndarray) -> np.ndarray:
    """[N] bool: windows of the inner held-out episodes."""
    numbers = np.unique(episode)
    if len(numbers) < 2:
        raise ValueError("AR-modelability needs two training episodes at least. Record more.")
    inner = split_episodes(len(numbers), held_out=VALIDATION_SHARE)
    return np.isin(episode, numbers[list(inner.held_out)])
