"""Smoothness: jerk against the recorded motion's, and the error's spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct

from analysis.style import GRID


@dataclass(frozen=True)
class Smoothness:
    """Per window, so that episodes can be resampled.

    Attributes:
        jerk: [N] mean |third difference| of the reconstruction.
        true_jerk: [N] the same of the recording.
        dct_l1: [N] mean |orthonormal DCT-II of the error|.
        spectrum: [T] mean |DCT of the error| at every frequency.
        hertz: [T] the frequencies.
    """

    jerk: np.ndarray
    true_jerk: np.ndarray
    dct_l1: np.ndarray
    spectrum: np.ndarray
    hertz: np.ndarray


def compute(decoded: np.ndarray, target: np.ndarray, fps: float) -> Smoothness:
    """From reconstructions and recordings [N, T, C] in scored space."""
    transformed = np.abs(dct(decoded - target, axis=1, norm="ortho"))
    return Smoothness(
        _jerk(decoded),
        _jerk(target),
        transformed.mean(axis=(1, 2)),
        transformed.mean(axis=(0, 2)),
        np.arange(target.shape[1]) * fps / (2 * target.shape[1]),
    )


def _jerk(values: np.ndarray) -> np.ndarray:
    if values.shape[1] < 4:
        return np.zeros(len(values))
    return np.abs(np.diff(values, 3, axis=1)).mean(axis=(1, 2))


def plot(results: dict[str, tuple[Smoothness | None, str]], ax) -> None:
    """Error spectra by name, each with its colour."""
    for name, (result, colour) in results.items():
        if result is not None:
            ax.semilogy(result.hertz, result.spectrum, color=colour, label=name)
    ax.set(xlabel="frequency (Hz)", ylabel="mean |DCT of the error|")
    ax.grid(color=GRID)
