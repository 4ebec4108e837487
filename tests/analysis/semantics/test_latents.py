"""The picture of the latents: what lies apart in them lies apart on its two axes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from analysis.semantics import latents


def test_two_clusters_end_apart_and_times_in_order(found, rng):
    """Of twelve directions one tells the tasks apart, another, fainter one when it was."""
    held_out = found.data.held_out
    rare, time = held_out.tasks == "rare", held_out.start / held_out.start.max()
    directions = np.linalg.qr(rng.normal(size=(12, 2)))[0].T
    noise = 0.02 * rng.normal(size=(len(held_out), 12))
    made = 7 + np.stack([5 * rare, time], axis=1) @ directions + noise
    codec = SimpleNamespace(name="mine", latents=lambda batch: made)
    result = latents.compute(codec, found.data)
    first, second = result.points.T
    assert result.groups == ["common", "rare"] and (result.group == rare).all()
    assert abs(first[rare].mean() - first[~rare].mean()) == pytest.approx(5, rel=0.05)
    assert max(first[rare].std(), first[~rare].std()) < 0.2
    assert abs(np.corrcoef(second, time)[0, 1]) > 0.95
    assert 0.95 < result.explained < 1
