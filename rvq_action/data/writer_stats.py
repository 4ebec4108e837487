"""Statistics as LeRobot v3.0 stores them: per episode in the episodes table, overall in stats.json.

Numeric features: one value per channel. Cameras: per colour, in [0, 1], nested [3][1][1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
LEVELS = np.arange(256) / 255.0
SAMPLED_FRAMES, SAMPLED_SIDE = 100, 150


def column_statistics(values: np.ndarray) -> dict[str, list]:
    """Statistics of one numeric feature.

    Args:
        values: [N] or [N, D].

    Returns:
        `min max mean std count q01 q10 q50 q90 q99`, each a list of D numbers (count: one).
        Integer features keep integer extremes.
    """
    rows = values.reshape(len(values), -1)
    floats = rows.astype(np.float64)
    extremes = rows if rows.dtype.kind in "iu" else floats
    quantiles = np.quantile(floats, list(QUANTILES.values()), axis=0)
    return {
        "min": extremes.min(0).tolist(),
        "max": extremes.max(0).tolist(),
        "mean": floats.mean(0).tolist(),
        "std": floats.std(0).tolist(),
        "count": [len(rows)],
        **{name: row.tolist() for name, row in zip(QUANTILES, quantiles, strict=True)},
    }


class FrameHistogram:
    """Colour histogram of up to 100 frames of an episode, spread evenly over it."""

    def __init__(self, num_frames: int) -> None:
        self._sampled = set(np.linspace(0, num_frames - 1, SAMPLED_FRAMES).round().astype(int))
        self._seen = 0
        self._counted = 0
        self._histogram = np.zeros((3, 256), dtype=np.int64)

    def add(self, frame: np.ndarray) -> np.ndarray:
        """Count a frame (uint8 [H, W, 3]) if its turn has come, and pass it on."""
        if self._seen in self._sampled:
            step = max(1, max(frame.shape[:2]) // SAMPLED_SIDE)
            pixels = frame[::step, ::step].reshape(-1, 3)
            self._histogram += [np.bincount(pixels[:, c], minlength=256) for c in range(3)]
            self._counted += 1
        self._seen += 1
        return frame

    def statistics(self) -> dict[str, list]:
        """The statistics of the frames seen so far; `count` is the number of frames used."""
        share = self._histogram / self._histogram.sum(1, keepdims=True)
        mean = share @ LEVELS
        found = {
            "min": LEVELS[(share > 0).argmax(1)],
            "max": LEVELS[255 - (share > 0)[:, ::-1].argmax(1)],
            "mean": mean,
            "std": np.sqrt(np.maximum(share @ LEVELS**2 - mean**2, 0)),
        }
        cumulative = share.cumsum(1)
        for name, level in QUANTILES.items():
            found[name] = LEVELS[(cumulative >= level - 1e-12).argmax(1)]
        nested = {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()}
        return {**nested, "count": [self._counted]}


def pooled_statistics(episodes: Sequence[dict[str, list]]) -> dict[str, list]:
    """Statistics of all episodes of a camera from the ones of each.

    Mean and standard deviation are exact; quantiles are the mean of the episodes' quantiles,
    as in LeRobot. Episodes weigh as many frames as they count.
    """
    values = {name: np.array([e[name] for e in episodes], dtype=np.float64) for name in episodes[0]}
    weight = values["count"].reshape(-1, 1, 1, 1) / values["count"].sum()
    pooled = {name: (weight * values[name]).sum(0) for name in ("mean", *QUANTILES)}
    second = (weight * (values["std"] ** 2 + values["mean"] ** 2)).sum(0)
    pooled["std"] = np.sqrt(np.maximum(second - pooled["mean"] ** 2, 0))
    pooled["min"], pooled["max"] = values["min"].min(0), values["max"].max(0)
    lists = {name: value.tolist() for name, value in pooled.items()}
    return {**lists, "count": [int(values["count"].sum())]}
