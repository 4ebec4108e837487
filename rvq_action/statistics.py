"""Streaming statistics of an embodiment, in model space (relative actions) and of its proprio.

Quantiles come from a histogram per channel whose range doubles when a value falls outside, so
memory stays constant however long the dataset is. Their error is at most one bin, 1/4096 of the
range seen.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from torch import Tensor

from rvq_action.chunk import ActionChunk
from rvq_action.housekeeping.json_file import read_json, write_json
from rvq_action.layout import ActionLayout
from rvq_action.relative import to_relative

BINS = 8192
ROUNDING = 1e-6
"""Of values up to 1, and as a share of larger ones."""
QUANTILES = {"q01": 0.01, "q99": 0.99}


def is_constant(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """bool [D]: whether values between [D] and [D] differ by no more than float32 rounds."""
    return high - low <= ROUNDING * np.maximum(1.0, np.maximum(np.abs(low), np.abs(high)))


@dataclass(frozen=True)
class ChannelStatistics:
    """One list per figure, an entry per channel; channels never seen have count 0.

    Attributes:
        count: Real entries seen.
        min: Smallest value.
        max: Largest value.
        mean: Mean.
        std: Standard deviation.
        q01: 1 % quantile.
        q99: 99 % quantile.
    """

    count: list[int]
    min: list[float]
    max: list[float]
    mean: list[float]
    std: list[float]
    q01: list[float]
    q99: list[float]

    @classmethod
    def from_dict(cls, data: dict, where: str) -> ChannelStatistics:
        """Read back `asdict`; strict.

        Raises:
            ValueError: A figure is missing or unknown, the lists differ in length, or an entry
                is no finite number.
        """
        if not isinstance(data, dict):
            raise ValueError(f"{where} must be an object of lists, got {data!r}.")
        names = {field.name for field in fields(cls)}
        if set(data) != names:
            raise ValueError(
                f"{where}: missing {sorted(names - set(data))}, unknown "
                f"{sorted(set(data) - names)}. Compute the statistics again with "
                "`rvq-train statistics`."
            )
        if any(not _are_finite(values) for values in data.values()):
            raise ValueError(
                f"{where}: every figure must be a list of finite numbers. Compute the statistics "
                "again with `rvq-train statistics`."
            )
        if len({len(values) for values in data.values()}) != 1:
            raise ValueError(f"{where}: the figures' lists differ in length; compute them again.")
        return cls(**data)


def _are_finite(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(v, int | float) and math.isfinite(v) for v in values
    )


@dataclass(frozen=True)
class EmbodimentStatistics:
    """Statistics of one embodiment, [D] each.

    Attributes:
        actions: Of relative actions.
        proprio: Of absolute proprio.
        start: Of the relative actions in a chunk's first frame: how far training chunks set off
            from the anchor, those that overrun their episode's end too. None in artefacts from
            before it was measured.
    """

    actions: ChannelStatistics
    proprio: ChannelStatistics
    start: ChannelStatistics | None = None

    @classmethod
    def from_dict(cls, data: dict, where: str) -> EmbodimentStatistics:
        needed = {"actions", "proprio"}
        if not isinstance(data, dict) or not needed <= set(data) <= {*needed, "start"}:
            raise ValueError(
                f"{where} must hold `actions`, `proprio` and `start`, has {list(data)}."
            )
        start = data.get("start")
        return cls(
            ChannelStatistics.from_dict(data["actions"], f"{where}.actions"),
            ChannelStatistics.from_dict(data["proprio"], f"{where}.proprio"),
            start and ChannelStatistics.from_dict(start, f"{where}.start"),
        )


class StreamingQuantiles:
    """Count, moments and a growing histogram of D channels."""

    def __init__(self, width: int) -> None:
        self.count = np.zeros(width, np.int64)
        self.total = np.zeros(width)
        self.squares = np.zeros(width)
        self.min = np.full(width, np.inf)
        self.max = np.full(width, -np.inf)
        self.low = np.zeros(width)
        self.bin_width = np.zeros(width)
        self.histogram = np.zeros((width, BINS), np.int64)

    def update(self, values: np.ndarray, mask: np.ndarray) -> None:
        """Add values [N, D] where mask [N, D] is True.

        Raises:
            ValueError: A real entry is not finite.
        """
        for channel in range(values.shape[1]):
            real = values[mask[:, channel], channel].astype(np.float64)
            if not np.isfinite(real).all():
                raise ValueError(
                    f"Channel {channel} holds NaN or infinite values. Mask them or leave the "
                    "episode out."
                )
            if len(real):
                self._update_channel(channel, real)

    def _update_channel(self, channel: int, real: np.ndarray) -> None:
        self.count[channel] += len(real)
        self.total[channel] += real.sum()
        self.squares[channel] += np.square(real).sum()
        self.min[channel] = min(self.min[channel], real.min())
        self.max[channel] = max(self.max[channel], real.max())
        self._cover(channel)
        place = (real - self.low[channel]) / self.bin_width[channel]
        bins = np.clip(place.astype(np.int64), 0, BINS - 1)
        self.histogram[channel] += np.bincount(bins, minlength=BINS)

    def _cover(self, channel: int) -> None:
        """Widen the histogram, halving its resolution, until it spans all values seen."""
        low, high = self.min[channel], self.max[channel]
        if self.bin_width[channel] == 0:
            self.bin_width[channel] = max((high - low) / BINS, 1e-12 * max(1.0, abs(low)))
            self.low[channel] = low
        while high > self.low[channel] + BINS * self.bin_width[channel]:
            self._halve(channel, keep_low=True)
        while low < self.low[channel]:
            self._halve(channel, keep_low=False)

    def _halve(self, channel: int, keep_low: bool) -> None:
        half = self.histogram[channel].reshape(-1, 2).sum(1)
        empty = np.zeros_like(half)
        if not keep_low:
            self.low[channel] -= BINS * self.bin_width[channel]
        self.histogram[channel] = np.concatenate([half, empty] if keep_low else [empty, half])
        self.bin_width[channel] *= 2

    def quantile(self, channel: int, q: float) -> float:
        """The q-quantile of a channel, within the values seen."""
        cumulative = np.cumsum(self.histogram[channel])
        position = np.searchsorted(cumulative, q * self.count[channel])
        value = self.low[channel] + (position + 0.5) * self.bin_width[channel]
        return float(np.clip(value, self.min[channel], self.max[channel]))

    def finish(self) -> ChannelStatistics:
        seen = self.count > 0
        mean = self.total / np.maximum(self.count, 1)
        variance = self.squares / np.maximum(self.count, 1) - mean**2
        quantiles = {
            name: [self.quantile(c, q) if seen[c] else 0.0 for c in range(len(seen))]
            for name, q in QUANTILES.items()
        }
        return ChannelStatistics(
            count=self.count.tolist(),
            min=np.where(seen, self.min, 0.0).tolist(),
            max=np.where(seen, self.max, 0.0).tolist(),
            mean=mean.tolist(),
            std=np.sqrt(np.maximum(variance, 0.0)).tolist(),
            **quantiles,
        )


class StatisticsBuilder:
    """Feed it chunks of one embodiment, then `build`."""

    def __init__(self, layout: ActionLayout) -> None:
        self.layout = layout
        self._actions = StreamingQuantiles(layout.width)
        self._proprio = StreamingQuantiles(layout.width)
        self._start = StreamingQuantiles(layout.width)

    def update(self, chunk: ActionChunk) -> None:
        """Add a batch of absolute chunks, [B, T, D]."""
        relative = to_relative(chunk.actions, chunk.anchor, self.layout, chunk.mask)
        width = self.layout.width
        self._actions.update(
            relative.reshape(-1, width).cpu().numpy(), chunk.mask.reshape(-1, width).cpu().numpy()
        )
        self._set_off(relative[:, 0], chunk.mask[:, 0])
        if chunk.anchor is not None and chunk.anchor_mask is not None:
            self._proprio.update(chunk.anchor.cpu().numpy(), chunk.anchor_mask.cpu().numpy())

    def update_start(self, chunk: ActionChunk) -> None:
        """Add only where chunks set off: of those that overrun the end of their episode."""
        mask = chunk.mask[:, :1]
        relative = to_relative(chunk.actions[:, :1], chunk.anchor, self.layout, mask)
        self._set_off(relative[:, 0], mask[:, 0])

    def _set_off(self, relative: Tensor, mask: Tensor) -> None:
        """First frames, relative to the anchor, [B, D]."""
        self._start.update(relative.cpu().numpy(), mask.cpu().numpy())

    def build(self) -> EmbodimentStatistics:
        """The statistics.

        Raises:
            ValueError: Nothing was fed.
        """
        if not self._actions.count.any():
            raise ValueError(
                f"No real action was seen for layout {self.layout.name!r}; the dataset has no "
                "window of the horizon asked for. Add episodes or shorten the horizon."
            )
        return EmbodimentStatistics(
            self._actions.finish(), self._proprio.finish(), self._start.finish()
        )


def save_statistics(statistics: dict[str, EmbodimentStatistics], path: str | Path) -> None:
    """Write one entry per embodiment as JSON."""
    write_json({name: asdict(entry) for name, entry in statistics.items()}, path)


def load_statistics(path: str | Path) -> dict[str, EmbodimentStatistics]:
    """Read what `save_statistics` wrote; strict.

    Raises:
        ValueError: Not JSON, or an entry lacks a figure.
    """
    return {
        name: EmbodimentStatistics.from_dict(entry, f"{path}: {name}")
        for name, entry in read_json(path).items()
    }
