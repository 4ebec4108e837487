"""Tiny runs on a tiny dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenizer_training.fit import fit
from tokenizer_training.fit_cli import FitCLI

TINY = Path(__file__).with_name("tiny.yaml")
LENGTHS = (40, 36, 44, 40, 38, 42)
MAPPING = """
embodiment: waver
layout: {name: waver, groups: {arm/position: {channels: [a, b], unit: m, delta: subtract}}}
action: {arm/position: {feature: action, take: [x, y], scale: SCALE}}
proprio: {arm/position: {feature: observation.state, take: [x, y], scale: SCALE}}
"""
"""Of the dataset's first two channels."""
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
