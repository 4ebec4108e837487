"""Tiny runs on tiny recordings, as the tests of the data have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vla.data.conftest import policy, recordings, talks, tokenizer
from vla.training.train import train
from vla.training.train_cli import TrainCLI

__all__ = ["policy", "recordings", "talks", "tokenizer"]

TINY = Path(__file__).with_name("tiny.yaml")


@pytest.fixture(scope="session")
def tokenizer_folder(tokenizer, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def words(recordings, talks, tokenizer_folder) -> list[str]:
    """What a tiny run is told, but for where to."""
    data = ["--data.datasets", str(recordings), "--data.conversations", str(talks)]
    return ["--config", str(TINY), *data, "--tokenizer", str(tokenizer_folder)]


@pytest.fixture
def run(words, tmp_path) -> Callable[..., Path]:
    """Run `rvq-vla train` in this process; returns the folder of the run."""

    def go(*options: str, name: str = "run") -> Path:
        cli = TrainCLI([*words, "--run_dir", str(tmp_path / name), *options])
        train(cli.run_settings(), cli.model, cli.trainer)
        return tmp_path / name

    return go
