"""A small eval set from real recordings, and a closed form fitted on them within seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.evalset import EvalSet, load_eval_sets
from rvq_action.analytic import fit_closed_form
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.split import split_episodes
from rvq_action.data.windows import Windows, horizon_frames
from rvq_action.embodiment import Embodiment
from rvq_action.statistics import StatisticsBuilder
from rvq_action.tokenizer import ActionTokenizer
from tests.rvq_action.robots import wake_networks

RECIPE = ClosedFormRecipe(
    num_quantizers=3, codebook_size=256, iterations=3, max_windows=2000, samples_per_code=1, depth=0
)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors: threads that wait for one another cost more than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def so101(shared_data) -> Path:
    return shared_data / "so101_pick_tape"


@pytest.fixture(scope="session")
def so101_set(so101) -> EvalSet:
    return load_eval_sets([so101], [], None, {})[0]


def _fitted(so101, recipe: ClosedFormRecipe) -> ActionTokenizer:
    dataset = RobotDataset.open(so101)
    split = split_episodes(dataset.reader.num_episodes)
    episodes = [dataset.episodes[i] for i in split.train]
    chunk = Windows(episodes, horizon_frames(dataset.fps), stride=3).chunk(slice(None))
    builder = StatisticsBuilder(dataset.layout)
    builder.update(chunk)
    embodiment = Embodiment(dataset.layout, builder.build(), dataset.fps)
    metadata = {"split": {dataset.name: split.to_dict()}}
    return fit_closed_form([chunk], {dataset.embodiment: embodiment}, recipe, metadata)


@pytest.fixture(scope="session")
def so101_tokenizer(so101) -> ActionTokenizer:
    """4 slots x 3 levels x 256 codes on SO-101."""
    return _fitted(so101, RECIPE)


@pytest.fixture(scope="session")
def so101_networked(so101) -> ActionTokenizer:
    """The same with networks of random weights, which have a say in what comes out."""
    tokenizer = _fitted(so101, replace(RECIPE, depth=1, hidden=16))
    wake_networks(tokenizer)
    return tokenizer


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
