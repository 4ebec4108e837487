"""A dataset with pictures, what a teacher saw in it, and a budget of a few steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tokenizer_training.conftest import TINY
from tests.tokenizer_training.features.conftest import write
from tokenizer_training.ablation.recipes import choose
from tokenizer_training.ablation.run import Budget, Run
from tokenizer_training.features.extract import Extraction, extract
from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.pixels import PixelSettings, PixelTeacher

LENGTHS = (30, 24, 35, 28, 33, 26, 31, 29)


@pytest.fixture(scope="session")
def stripes(tmp_path_factory) -> Path:
    """Eight episodes of three channels with two cameras."""
    return write(tmp_path_factory.mktemp("ablation") / "stripes", LENGTHS)


@pytest.fixture(scope="session")
def caches(stripes, tmp_path_factory) -> dict[str, Path]:
    """Two teachers' features by name: 6 and 4 components per camera."""
    found = {}
    for name, components in (("six", 6), ("four", 4)):
        teacher = PixelTeacher(PixelSettings(side=8, components=components, fit_frames=24))
        found[name] = tmp_path_factory.mktemp("caches") / name
        extract(teacher, [Pictures.open(stripes)], Extraction(), found[name])
    return found


@pytest.fixture
def words(stripes, caches, tmp_path) -> list[str]:
    """`rvq-train ablate` with the tiny budget; recipes and seeds are to be added."""
    options = ["--data.datasets", str(stripes), "--features", str(caches["six"])]
    options += ["--budget", str(TINY), "--jobs", "2"]
    return ["ablate", *options, "--out", str(tmp_path / "rows"), "--runs_dir", f"{tmp_path}/runs"]


@pytest.fixture
def run_of(stripes, caches, tmp_path) -> Callable[..., Run]:
    """A run of a recipe, given by name or file, with the tiny budget."""

    def run(recipe: str, seed: int = 0, max_steps: int | None = None) -> Run:
        (chosen,) = choose([recipe], [str(caches["six"]), f"other={caches['four']}"])
        budget = Budget(str(TINY), max_steps)
        return Run(chosen, seed, stripes, budget, tmp_path / "runs")

    return run
