"""`encode` says once that a tokenizer does not fit what it is given, and never of its own robot."""

from __future__ import annotations

import math
import pickle
import warnings
from dataclasses import replace

import pytest
import torch

from rvq_action import ActionChunk, ActionTokenizer, OutOfDistributionWarning
from rvq_action.analytic import fit_closed_form
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.split import split_episodes, validation_size
from rvq_action.data.windows import Windows, horizon_frames
from rvq_action.novelty import fit_watch
from rvq_action.novelty.calibration import KEY, calibrated
from rvq_action.novelty.fit_watch import LEAST, MOST
from tests.rvq_action.robots import (
    ARM,
    ARM_HORIZON,
    RECIPE,
    arm_chunk,
    embodiment_of,
    fit,
    wall_chunk,
)

LINEAR = torch.tensor([1.0, 1.0, 1.0, 0.0])
DATASETS = ("so101_pick_tape", "cr5_banana", "g1_bottle", "droid_franka")
OF_JOINTS = ("so101_pick_tape", "cr5_banana", "g1_bottle")
QUICK = ClosedFormRecipe(codebook_size=256, iterations=2, samples_per_code=8, depth=0)


def standing(batch: int, seed: int) -> ActionChunk:
    """An arm that stands at 60 to 70, so that other units show in its proprio."""
    chunk = arm_chunk(batch, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    shift = (60 + 10 * torch.rand(batch, 4, generator=generator)) * LINEAR
    return replace(chunk, actions=chunk.actions + shift[:, None], anchor=chunk.anchor + shift)


def scaled(chunk: ActionChunk, by: float) -> ActionChunk:
    scale = torch.where(LINEAR > 0, by, 1.0)
    return replace(chunk, actions=chunk.actions * scale, anchor=chunk.anchor * scale)


def shaken(batch: int) -> ActionChunk:
    """Motion such as no robot makes: twice as large, from side to side of the anchor."""
    chunk = standing(batch, 9)
    sides = torch.tensor([2.0, -2.0]).repeat(ARM_HORIZON // 2)[:, None]
    moved = (chunk.actions - chunk.anchor[:, None]) * sides
    return replace(
        chunk, actions=torch.where(LINEAR > 0, chunk.anchor[:, None] + moved, chunk.actions)
    )


def in_radians(chunk: ActionChunk) -> ActionChunk:
    actions, anchor = (values * math.pi / 180 for values in (chunk.actions, chunk.anchor))
    return replace(chunk, actions=actions, anchor=anchor)


def encode(tokenizer: ActionTokenizer, chunk: ActionChunk) -> torch.Tensor:
    return tokenizer.encode(
        chunk.actions, chunk.anchor, chunk.embodiment, chunk.fps, mask=chunk.mask
    )


def said(tokenizer: ActionTokenizer, *chunks: ActionChunk) -> list[str]:
    """What encoding these chunks one after the other says of their distribution."""
    fresh = replace(tokenizer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for chunk in chunks:
            encode(fresh, chunk)
    return [str(w.message) for w in caught if w.category is OutOfDistributionWarning]


@pytest.fixture(scope="module")
def fitted() -> ActionTokenizer:
    return fit({"arm": (ARM, standing(1024, 0))}, RECIPE)


@pytest.fixture
def tokenizer(fitted) -> ActionTokenizer:
    """One that has not said anything yet."""
    return replace(fitted)


def test_units_that_make_values_smaller_are_told_by_name_score_cause_and_remedy(tokenizer):
    radians = scaled(standing(LEAST, 9), math.pi / 180)
    with pytest.warns(OutOfDistributionWarning) as caught:
        codes = encode(tokenizer, radians)
    assert codes.shape[0] == LEAST
    for words in (
        "'arm'",
        "1 is worse than 99 %",
        "saturation",
        "units",
        "tokenizer.mapping",
        "rvq-action check DATA --tokenizer",
        "rvq-train fit",
    ):
        assert words in str(caught[0].message), words
    assert caught[0].filename == __file__


def test_motion_of_another_kind_is_told_by_what_is_left_over(tokenizer):
    with pytest.warns(OutOfDistributionWarning, match=r"residual.*fps"):
        encode(tokenizer, shaken(64))


def test_the_score_told_is_that_of_the_chunk_in_the_middle(tokenizer):
    radians = scaled(standing(LEAST, 9), math.pi / 180)
    scores = tokenizer.score(radians.actions, radians.anchor).out_of_distribution
    with pytest.warns(OutOfDistributionWarning, match=f"score of {scores.median():.2g} "):
        encode(tokenizer, radians)


def test_it_is_said_once_by_each_tokenizer(tokenizer):
    radians = scaled(standing(64, 9), math.pi / 180)
    with pytest.warns(OutOfDistributionWarning):
        encode(tokenizer, radians)
    encode(tokenizer, radians)
    encode(pickle.loads(pickle.dumps(tokenizer)), radians)
    with pytest.warns(OutOfDistributionWarning):
        encode(replace(tokenizer), radians)


def test_each_robot_is_told_of(closed_form):
    tokenizer = replace(closed_form)
    encode(tokenizer, arm_chunk(64, seed=9))
    wall = wall_chunk(64, seed=9)
    order = torch.tensor([7, 1, 9, 3, 0, 8, 2, 6, 4, 5])
    with pytest.warns(OutOfDistributionWarning, match="'wall'"):
        encode(tokenizer, replace(wall, actions=wall.actions[:, order]))


def test_few_chunks_are_gathered_over_calls_until_they_tell_something(tokenizer):
    odd = shaken(LEAST)
    for number in range(LEAST - 1):
        encode(tokenizer, odd.rows(torch.tensor([number])))
    with pytest.warns(OutOfDistributionWarning):
        encode(tokenizer, odd.rows(torch.tensor([LEAST - 1])))


def test_a_few_odd_chunks_among_usual_ones_say_nothing(tokenizer):
    usual, odd = standing(64, 9), shaken(64)
    mixed = usual.actions.clone()
    mixed[::3] = odd.actions[::3]
    assert said(tokenizer, replace(usual, actions=mixed)) == []


def test_after_the_first_chunks_nothing_is_measured_any_more(tokenizer, monkeypatch):
    looked = []
    measure = fit_watch.measure
    monkeypatch.setattr(
        fit_watch,
        "measure",
        lambda playback: looked.append(len(playback.chunk)) or measure(playback),
    )
    encode(tokenizer, standing(LEAST - 1, 9))
    for _ in range(3):
        encode(tokenizer, standing(500, 9))
    assert looked == [LEAST - 1, MOST]
    encode(tokenizer, shaken(500))


def test_an_artefact_without_a_calibration_or_with_a_damaged_one_says_nothing(fitted):
    odd = shaken(64)
    assert said(fitted, odd)
    assert not said(replace(fitted, metadata={}), odd)
    assert not said(replace(fitted, metadata={KEY: {"arm": {"fitted": {}}}}), odd)


def test_what_is_far_out_of_range_is_said_by_channel_instead(tokenizer):
    degrees = scaled(standing(64, 9), 180 / math.pi)
    with pytest.warns(UserWarning) as caught:
        encode(tokenizer, degrees)
    assert [w.category.__name__ for w in caught] == ["OutOfRangeWarning"]


@pytest.mark.parametrize("name", DATASETS)
def test_held_out_episodes_say_nothing_and_radians_do(shared_data, name):
    dataset = RobotDataset.open(shared_data / name)
    split = split_episodes(dataset.reader.num_episodes)
    few = validation_size(len(split.train))
    train, validation, held_out = (
        Windows([dataset.episodes[i] for i in part], horizon_frames(dataset.fps), 6).chunk(
            slice(None)
        )
        for part in (split.train[few:], split.train[:few], split.held_out)
    )
    known = {train.embodiment: embodiment_of(dataset.layout, train)}
    tokenizer = calibrated(fit_closed_form([train], known, QUICK), [train], [validation])
    assert not said(tokenizer, held_out)
    assert not said(tokenizer, *(held_out.rows(torch.tensor([row])) for row in range(LEAST)))
    if name in OF_JOINTS:
        assert len(said(tokenizer, in_radians(held_out))) == 1
