"""The statistics stored with a LeRobotDataset, for looking at; training fits its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rvq_action.data.metadata import json_lines, parse_json

FeatureStatistics = dict[str, dict[str, np.ndarray]]


def load_statistics(path: Path) -> FeatureStatistics:
    """Per feature min, max, mean, std, count and, where stored, quantiles.

    v3.0 (and v2.0) store them for the whole dataset, v2.1 per episode: those are merged.

    Raises:
        FileNotFoundError: The dataset has none.
    """
    whole, parts = path / "meta" / "stats.json", path / "meta" / "episodes_stats.jsonl"
    if whole.is_file():
        return _as_arrays(parse_json(whole.read_text(), whole))
    if parts.is_file():
        return merge_statistics([_as_arrays(line["stats"]) for line in json_lines(parts)])
    raise FileNotFoundError(f"{path} has neither meta/stats.json nor meta/episodes_stats.jsonl.")


def merge_statistics(parts: Sequence[FeatureStatistics]) -> FeatureStatistics:
    """Statistics of a whole from those of its parts.

    Exact for min, max, mean, std and count. Quantiles cannot be merged: the result has the mean
    of the parts' quantiles, weighted by count, as LeRobot's own aggregation does.
    """
    return {feature: _merge([part[feature] for part in parts]) for feature in parts[0]}


def _merge(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    stacked = {key: np.stack([part[key] for part in parts]) for key in parts[0]}
    counts = stacked.pop("count")
    count = counts.sum(0)

    def average(values: np.ndarray) -> np.ndarray:
        weights = (counts / count).reshape(len(parts), *[1] * (values.ndim - 1))
        return (weights * values).sum(0)

    merged = {key: average(values) for key, values in stacked.items()}
    merged["min"], merged["max"] = stacked["min"].min(0), stacked["max"].max(0)
    second = average(stacked["std"] ** 2 + stacked["mean"] ** 2)
    merged["std"] = np.sqrt(np.maximum(second - merged["mean"] ** 2, 0))
    return {**merged, "count": count}


def _as_arrays(statistics: dict) -> FeatureStatistics:
    return {f: {k: np.asarray(v) for k, v in entry.items()} for f, entry in statistics.items()}
