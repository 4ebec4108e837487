"""Rate and timestamps: regular, equal to fps, frames numbered without gaps."""

from __future__ import annotations

import numpy as np

from rvq_action.data.check.finding import Finding, failed, listed, passed, warned
from rvq_action.data.check.recording import Recording

JITTER_FRAMES = 0.1
"""Deviation from `frame / fps`, in frames, from which timestamps count as irregular."""


def check_timestamps(recording: Recording) -> Finding:
    """Whether timestamps are `frame / fps`."""
    name, fps = "rate: timestamps", recording.fps
    worst, irregular, backwards = 0.0, [], []
    for index, columns in zip(recording.indices, recording.columns, strict=True):
        times = columns["timestamp"].astype(np.float64) * fps
        if len(times) > 1 and np.diff(times).min() <= 0:
            backwards.append(index)
        deviation = np.abs(times - np.arange(len(times))).max()
        worst = max(worst, deviation)
        if not deviation <= JITTER_FRAMES:
            irregular.append(index)
    if backwards:
        return failed(
            name,
            f"time stands still or runs backwards in episodes {listed(backwards)}",
            "Sort the rows by time, or rewrite timestamp as frame_index / fps.",
        )
    if irregular:
        rate = _median_rate(recording)
        far = rate is not None and abs(rate / fps - 1) > 0.02
        message = (
            f"timestamps leave frame / fps by up to {worst / fps:.3f} s in {len(irregular)} "
            f"episodes; the median rate is {rate:.4g} Hz, stated are {fps:g}"
        )
        fix = "Resample to a regular rate, or correct fps in meta/info.json."
        return failed(name, message, fix) if far else warned(name, message, fix)
    return passed(name, f"regular {fps:g} Hz, within {worst / fps * 1000:.2g} ms")


def check_frame_index(recording: Recording) -> Finding:
    """Whether frame_index counts 0, 1, 2, ... in every episode."""
    wrong = [
        index
        for index, columns in zip(recording.indices, recording.columns, strict=True)
        if not np.array_equal(columns["frame_index"], np.arange(len(columns["frame_index"])))
    ]
    if wrong:
        return failed(
            "rate: frame numbers",
            f"frame_index does not count 0, 1, 2, ... in episodes {listed(wrong)}",
            "Frames are missing or out of order: record or convert these episodes again.",
        )
    return passed("rate: frame numbers", "no frame is missing or out of order")


def _median_rate(recording: Recording) -> float:
    steps = [np.diff(c["timestamp"].astype(np.float64)) for c in recording.columns]
    return 1 / float(np.median(np.concatenate(steps)))
