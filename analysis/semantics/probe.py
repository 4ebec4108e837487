"""The one probe of every tokenizer: ridge regression in its dual form.

What a probe reads enters as inner products between windows: for codes the number of tokens two
windows share (a one-hot code per token) plus the product of their embedded codes, each centred on
the training windows and scaled to a mean square of one. The strength of the ridge is chosen on
validation episodes inside the training ones; then the probe is fitted on all training windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
CONSTANT = 1e-6
"""What varies by a smaller share than this is rounding."""


@dataclass(frozen=True)
class Inputs:
    """What a probe reads of M training and N asked windows, as inner products.

    Attributes:
        among: [M, M] float32 of training windows.
        across: [N, M] of asked windows to training windows.
    """

    among: Tensor
    across: Tensor

    def __add__(self, other: Inputs) -> Inputs:
        """Both, laid end to end."""
        return Inputs(self.among + other.among, self.across + other.across)

    def __mul__(self, weight: float) -> Inputs:
        """The same with another weight against what it is added to."""
        return Inputs(self.among * weight, self.across * weight)

    def take(self, training: np.ndarray, asked: np.ndarray) -> Inputs:
        """Some of the training windows [m] and of the asked ones [n]."""
        return Inputs(self.among[training][:, training], self.across[asked][:, training])

    def of_other_windows(self, seed: int = 0) -> Inputs:
        """Every window, training or asked, with the inputs of another one of its kind.

        What is asked with them is not to be found out, whatever the probe was fitted with; a probe
        fitted in vain is `SemanticSet.with_shuffled_pictures`.
        """
        rng = np.random.default_rng(seed)
        return self.take(*(rng.permutation(len(part)) for part in (self.among, self.across)))


def linear(training, asked) -> Inputs:
    """Inner products of features, centred and scaled to a mean square of one.

    Features that are the same in all training windows tell nothing: their products are 0.

    Args:
        training: [M, P] array or scipy sparse array.
        asked: [N, P] likewise.
    """
    among, across = _dense(training @ training.T), _dense(asked @ training.T)
    mean = among.mean(0)
    centred = among - mean - mean[:, None] + mean.mean()
    moved = across - across.mean(1, keepdim=True) - mean + mean.mean()
    scale, whole = float(centred.diagonal().mean()), float(among.diagonal().mean())
    factor = 1 / scale if scale > CONSTANT * whole else 0.0
    return Inputs(centred * factor, moved * factor)


def standardised(training: np.ndarray, asked: np.ndarray) -> Inputs:
    """`linear` after giving every feature unit variance; features that never vary are dropped."""
    middle, spread = training.mean(0), training.std(0)
    varying = spread > CONSTANT * spread.max(initial=0)
    scaled = [(part - middle)[:, varying] / spread[varying] for part in (training, asked)]
    return linear(*scaled)


def _dense(product) -> Tensor:
    array = product if isinstance(product, np.ndarray) else product.toarray()
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


@dataclass(frozen=True)
class Prediction:
    """Attributes:
    values: [N, F] float32, for the asked windows.
    strength: The chosen strength of the ridge.
    loss: Its loss on the validation windows.
    """

    values: np.ndarray
    strength: float
    loss: float


def predict(
    inputs: Inputs,
    targets: np.ndarray,
    validation: np.ndarray,
    loss: Callable[[np.ndarray], float],
    weights: np.ndarray | None = None,
) -> Prediction:
    """Fit the probe on training windows and ask it about the others.

    Args:
        inputs: What it reads.
        targets: [M, F] of the training windows.
        validation: [M] bool, those on which the strength is chosen.
        loss: Predictions [m, F] for the m validation windows -> what is to be small.
        weights: [M] of the training windows' errors; 1 where omitted.
    """
    weights = np.ones(len(targets)) if weights is None else weights
    fit, check = np.flatnonzero(~validation), np.flatnonzero(validation)
    if not len(fit):
        fit = check
    trial = Inputs(inputs.among, inputs.among).take(fit, check)
    losses = [loss(_solve(trial, targets[fit], weights[fit], s)) for s in STRENGTHS]
    best = int(np.argmin(losses))
    values = _solve(inputs, targets, weights, STRENGTHS[best])
    return Prediction(values, STRENGTHS[best], float(losses[best]))


def _solve(inputs: Inputs, targets: np.ndarray, weights: np.ndarray, strength: float) -> np.ndarray:
    """[N, F] predictions of the ridge of that strength."""
    share = weights / weights.sum()
    mean = share @ targets
    ridge = torch.from_numpy(strength * weights.mean() / weights).float()
    factor = torch.linalg.cholesky(inputs.among + torch.diag(ridge))
    centred = torch.from_numpy(np.ascontiguousarray(targets - mean, dtype=np.float32))
    predicted = inputs.across @ torch.cholesky_solve(centred, factor)
    return predicted.numpy() + mean.astype(np.float32)
