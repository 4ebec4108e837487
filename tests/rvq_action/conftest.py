"""Tokenizers that tests share; a test that changes one makes its own."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from rvq_action import ActionChunk, ActionTokenizer


@pytest.fixture(scope="session")
def closed_form() -> ActionTokenizer:
    """A closed form that knows `arm` (20 Hz, 4 channels) and `wall` (10 Hz, right arm only).

    Both have six slots; `test_joint` has robots that differ.
    """
    from rvq_action import WALL_26
    from tests.rvq_action.robots import ARM, RECIPE, arm_chunk, fit, wall_chunk

    robots = {"arm": (ARM, arm_chunk(1024)), "wall": (WALL_26, wall_chunk(1024))}
    return fit(robots, replace(RECIPE, slots=6))


@pytest.fixture(scope="session")
def one_arm() -> ActionTokenizer:
    """A closed form that knows `arm` alone, so that nobody has to say which."""
    from tests.rvq_action.robots import ARM, arm_chunk, fit

    return fit({"arm": (ARM, arm_chunk(1024))})


@pytest.fixture(scope="session")
def networked(closed_form) -> ActionTokenizer:
    """The same with networks that have a say, as after some training."""
    from tests.rvq_action.robots import wake_networks

    tokenizer = replace(closed_form, model=copy.deepcopy(closed_form.model))
    wake_networks(tokenizer)
    return tokenizer


@pytest.fixture(params=["closed_form", "networked"])
def tokenizer(request) -> ActionTokenizer:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["arm_chunk", "wall_chunk"])
def chunk(request) -> ActionChunk:
    """24 chunks that nothing was fitted on."""
    from tests.rvq_action import robots

    return getattr(robots, request.param)(24, seed=7)
