"""Streaming statistics against numpy on everything at once."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from rvq_action import joint_space
from rvq_action.relative import to_relative
from rvq_action.statistics import (
    ChannelStatistics,
    StatisticsBuilder,
    StreamingQuantiles,
    load_statistics,
    save_statistics,
)
from tests.rvq_action.robots import ARM, arm_chunk

DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(3.0, 0.01, n),
    "uniform": lambda rng, n: rng.uniform(-1e4, 1e4, n),
    "heavy": lambda rng, n: rng.standard_t(2, n),
    "skewed": lambda rng, n: rng.lognormal(0, 2, n),
    "growing": lambda rng, n: np.cumsum(rng.normal(0.01, 1.0, n)),
    "falling": lambda rng, n: -np.linspace(0, 1000, n) + rng.normal(0, 1, n),
    "tiny": lambda rng, n: rng.normal(0, 1e-7, n),
}


def stream(values: np.ndarray, mask: np.ndarray | None = None, batches: int = 7):
    mask = np.ones(values.shape, bool) if mask is None else mask
    streaming = StreamingQuantiles(values.shape[1])
    for part, real in zip(
        np.array_split(values, batches), np.array_split(mask, batches), strict=True
    ):
        streaming.update(part, real)
    return streaming.finish()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("batches", [1, 3, 50])
def test_quantiles_are_within_a_bin(name, batches):
    values = DISTRIBUTIONS[name](np.random.default_rng(0), 20_000)[:, None]
    found = stream(values, batches=batches)
    bin_width = np.ptp(values) / 4096
    for figure, q in (("q01", 0.01), ("q99", 0.99)):
        below, above = (np.quantile(values, q, method=m) for m in ("lower", "higher"))
        value = getattr(found, figure)[0]
        assert below - bin_width <= value <= above + bin_width
    assert found.min[0] == values.min() and found.max[0] == values.max()
    assert found.mean[0] == pytest.approx(values.mean(), rel=1e-9, abs=1e-12)
    assert found.std[0] == pytest.approx(values.std(), rel=1e-4)
    assert found.count == [20_000]


def test_a_range_that_grows_a_millionfold_both_ways():
    values = np.concatenate([np.full(10, 1e-3), np.linspace(-1e3, 2e3, 5001)])[:, None]
    found = stream(values, batches=200)
    assert found.q01[0] == pytest.approx(np.quantile(values, 0.01), abs=3e3 / 4096)
    assert found.q99[0] == pytest.approx(np.quantile(values, 0.99), abs=3e3 / 4096)


@pytest.mark.parametrize("constant", [0.0, -7.25, 1e6])
def test_a_constant_channel(constant):
    found = stream(np.full((100, 1), constant))
    assert found.min == found.max == found.q01 == found.q99 == [constant]
    assert found.std[0] == pytest.approx(0.0, abs=1e-3)


def test_masked_values_do_not_count():
    rng = np.random.default_rng(0)
    values, mask = rng.normal(size=(5000, 3)), rng.random((5000, 3)) > 0.3
    mask[:, 1] = False
    found = stream(np.where(mask, values, np.nan), mask)
    assert found.count == mask.sum(0).tolist()
    assert found.count[1] == found.min[1] == found.max[1] == found.q99[1] == 0
    for channel in (0, 2):
        real = values[mask[:, channel], channel]
        assert found.mean[channel] == pytest.approx(real.mean())
        assert found.q99[channel] == pytest.approx(np.quantile(real, 0.99), abs=0.02)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error(value):
    values = np.zeros((10, 2))
    values[3, 1] = value
    with pytest.raises(ValueError, match=r"Channel 1 holds NaN or infinite.*Mask"):
        stream(values)


def test_the_builder_measures_relative_actions_and_proprio():
    builder, chunk = StatisticsBuilder(ARM), arm_chunk(500)
    for rows in (slice(0, 200), slice(200, 500)):
        fields = ("actions", "mask", "anchor", "anchor_mask")
        builder.update(replace(chunk, **{name: getattr(chunk, name)[rows] for name in fields}))
    built = builder.build()
    relative = to_relative(chunk.actions, chunk.anchor, ARM, chunk.mask).flatten(0, 1)
    for found, values in ((built.actions, relative), (built.proprio, chunk.anchor)):
        assert torch.allclose(torch.tensor(found.max), values.amax(0))
        assert torch.allclose(torch.tensor(found.min), values.amin(0))
        quantiles = torch.tensor([found.q01, found.q99])
        width = (values.amax(0) - values.amin(0)) / 4096
        for method, sign in (("lower", 1), ("higher", -1)):
            bound = torch.quantile(values, torch.tensor([0.01, 0.99]), dim=0, interpolation=method)
            assert (sign * (quantiles - bound) >= -width).all()


def test_without_an_anchor_there_is_no_proprio():
    layout = joint_space(4, delta="raw")
    builder = StatisticsBuilder(layout)
    builder.update(replace(arm_chunk(10), anchor=None, anchor_mask=None))
    assert builder.build().proprio.count == [0, 0, 0, 0]


def test_no_window_is_an_error():
    with pytest.raises(ValueError, match=r"No real action.*Add episodes"):
        StatisticsBuilder(ARM).build()


def test_statistics_make_the_round_trip(tmp_path, closed_form):
    known = {name: e.statistics for name, e in closed_form.embodiments.items()}
    save_statistics(known, tmp_path / "statistics.json")
    assert load_statistics(tmp_path / "statistics.json") == known


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"q05": [0.0]}, r"unknown \['q05'\].*rvq-train statistics"),
        ({"q01": [0.0, 0.0]}, "differ in length"),
        ({"q01": None}, "finite numbers"),
        ({"q01": 0.0}, "finite numbers"),
    ],
)
def test_statistics_are_read_strictly(change, match):
    data = asdict(stream(np.zeros((5, 1))))
    with pytest.raises(ValueError, match=match):
        ChannelStatistics.from_dict(json.loads(json.dumps({**data, **change})), "here")
