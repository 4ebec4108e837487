"""Tiny runs on a tiny dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tokenizer_training.fit import fit
from tokenizer_training.fit_cli import FitCLI
from tokenizer_training.visual import VisualTargets

TINY = Path(__file__).with_name("tiny.yaml")
LENGTHS = (40, 36, 44, 40, 38, 42)
MAPPING = """
embodiment: waver
layout: {name: waver, groups: {arm/position: {channels: [a, b], unit: m, delta: subtract}}}
action: {arm/position: {feature: action, take: [x, y], scale: SCALE}}
proprio: {arm/position: {feature: observation.state, take: [x, y], scale: SCALE}}
"""
"""Of the dataset's first two channels."""
SLOTS = ("--closed_form.semantic_slots", "2", "--closed_form.semantic_width", "4")
TERMS = {"alignment": 0.5, "next_frame": 0.2, "masked_modelling": 0.1}
SMALL = ("--side", "8", "--components", "6", "--fit_frames", "24")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """Six episodes of three channels at 10 Hz, two tasks."""
    from tests.synthetic import write_v3

    return write_v3(tmp_path_factory.mktemp("data") / "waves", LENGTHS)


@pytest.fixture(scope="session")
def seen(tmp_path_factory) -> tuple[Path, Path]:
    """A dataset with two cameras, and the cache of its features."""
    from tests.tokenizer_training.features.conftest import write
    from tokenizer_training.cli import main

    folder = tmp_path_factory.mktemp("seen")
    data, cache = write(folder / "stripes", LENGTHS), folder / "cache"
    words = ["features", "--data.datasets", str(data), "--out", str(cache), *SMALL]
    assert main(words) == 0
    return data, cache


def write_mapping(data: Path, scale: float = 1.0) -> Path:
    """Give a dataset a mapping of its own; returns the dataset."""
    (data / "meta" / "rvq_mapping.yaml").write_text(MAPPING.replace("SCALE", str(scale)))
    return data


@pytest.fixture
def mapped(dataset, tmp_path) -> Path:
    """A copy of the dataset, with a mapping of its own."""
    return write_mapping(Path(shutil.copytree(dataset, tmp_path / "mapped")))


@pytest.fixture
def fit_tiny(dataset, tmp_path) -> Callable[..., Path]:
    """Run `rvq-train fit` in this process; returns the folder of the run."""

    def run(*options: str, name: str = "run", data: Path = dataset) -> Path:
        words = ["--config", str(TINY), "--data.datasets", str(data)]
        cli = FitCLI([*words, "--run_dir", str(tmp_path / name), *options])
        fit(cli.run_settings(), cli.model, cli.datamodule, cli.trainer)
        return tmp_path / name

    return run


@pytest.fixture
def fit_seen(seen, fit_tiny) -> Callable[..., Path]:
    """`fit_tiny` with pictures: with semantic slots, and with weights of the terms about them."""

    def run(*options: str, name: str = "run", weights: dict[str, float] | None = None) -> Path:
        terms = TERMS if weights is None else weights
        given = [w for n, v in terms.items() for w in (f"--model.weights.{n}", str(v))]
        features = ("--data.features", str(seen[1]))
        return fit_tiny(*SLOTS, *features, *given, *options, name=name, data=seen[0])

    return run


def made_up(count: int, width: int) -> VisualTargets:
    """What a teacher of that width saw around the chunks of one episode, 2 s apart."""
    generator = torch.Generator().manual_seed(0)
    told = torch.randn(3, count, 12, generator=generator)
    features = told @ torch.randn(12, width, generator=generator) + 3
    known, episode = torch.ones(2, count, dtype=torch.bool), torch.zeros(count, dtype=torch.long)
    return VisualTargets(*features, *known, episode, 2.0 * torch.arange(count))
