"""The Gaussian yardstick: what a Gaussian source of the chunks' covariance needs in bits.

Reverse water-filling over held-out energies l along the training eigenvectors: with water level
t, D = sum(min(l, t)) and R = sum(max(0, log2(l / t) / 2)). Real data are not Gaussian: a tokenizer
can do better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from rvq_action.closed_form.allocation import water_fill

NICE_BITS = (10, 15, 25, 40, 60, 80, 100, 125, 160, 200, 250, 300, 400, 500, 600, 800)
NICE_BITS += (1000, 1250, 1600, 2000, 2500, 3000, 4000)


@dataclass(frozen=True)
class Yardstick:
    """Held-out energy along the eigenvectors of the training covariance.

    Attributes:
        energy: [T * D] scored units squared, falling with the training eigenvalue.
    """

    energy: np.ndarray

    @classmethod
    def fit(cls, training: np.ndarray, held_out: np.ndarray) -> Yardstick:
        """From chunks [N, T, D] of the training and of the held-out episodes, in scored space."""
        train = training.reshape(len(training), -1).astype(np.float64)
        mean = train.mean(0)
        _, vectors = np.linalg.eigh(np.cov(train.T, bias=True))
        centred = held_out.reshape(len(held_out), -1) - mean
        return cls(((centred @ vectors[:, ::-1]) ** 2).mean(0))

    def mse(self, bits: float) -> float:
        """Distortion per value at `bits` per chunk."""
        energy = torch.from_numpy(self.energy)
        rates = water_fill(energy, bits)
        return float((energy * 4.0**-rates).mean())


def row_bits(low: float, high: float) -> list[int]:
    """The round numbers of bits between `low` and `high` at which the yardstick gets a row."""
    return [bits for bits in NICE_BITS if low <= bits <= high]
