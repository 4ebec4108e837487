"""Actions in other units are noticed, once, and recordings of the same robot never are."""

from __future__ import annotations

import warnings

import pytest
import torch

from rvq_action import ActionTokenizer, OutOfRangeWarning
from rvq_action.bounds.training_range import TrainingRange
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.split import split_episodes
from rvq_action.data.windows import Windows, horizon_frames
from rvq_action.layout import joint_space
from rvq_action.normalize import Normalizer
from rvq_action.novelty.range_watch import RangeWatch
from rvq_action.relative import to_relative
from rvq_action.statistics import StatisticsBuilder
from tests.rvq_action.robots import ARM, RECIPE, arm_chunk, fit

DATASETS = ("so101_pick_tape", "cr5_banana", "g1_bottle", "droid_franka")


@pytest.fixture
def tokenizer() -> ActionTokenizer:
    """One of its own: a warning is given once."""
    return fit({"arm": (ARM, arm_chunk(256))}, RECIPE)


def test_degrees_for_radians_are_named_once(tokenizer):
    chunk = arm_chunk(8, seed=7)
    degrees = torch.tensor([57.3, 1.0, 57.3, 1.0])
    with pytest.warns(OutOfRangeWarning, match=r"joint_0 \[rad\], joint_2 \[rad\], .*mapping"):
        codes = tokenizer.encode(chunk.actions * degrees, chunk.anchor * degrees)
    assert codes.shape[0] == 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer.encode(chunk.actions * degrees, chunk.anchor * degrees)


def test_the_warning_points_at_the_caller(tokenizer):
    chunk = arm_chunk(2, seed=7)
    with pytest.warns(OutOfRangeWarning) as caught:
        tokenizer.encode(chunk.actions * 100, chunk.anchor)
    assert caught[0].filename == __file__


def test_what_the_mask_hides_is_not_looked_at(tokenizer):
    chunk = arm_chunk(8, seed=7)
    loud, mask = chunk.actions.clone(), chunk.mask.clone()
    loud[..., 1], mask[..., 1] = 1e6, False
    tokenizer.encode(loud, chunk.anchor, mask=mask)


def test_bold_motions_and_an_outlier_are_no_other_units(tokenizer):
    chunk = arm_chunk(8, seed=7)
    bold = chunk.anchor[:, None] + 1.5 * (chunk.actions - chunk.anchor[:, None])
    bold[..., 3] = chunk.actions[..., 3]
    tokenizer.encode(bold, chunk.anchor)
    glitch = chunk.actions.clone()
    glitch[:, 5, 0] = 1e4
    tokenizer.encode(glitch, chunk.anchor)


def test_a_channel_that_never_moved_may_tremble():
    chunk, layout = arm_chunk(64), joint_space(4)
    chunk.actions[..., 2], chunk.anchor[..., 2] = 0.5, 0.5
    builder = StatisticsBuilder(layout)
    builder.update(chunk)
    actions = builder.build().actions
    normalizer = Normalizer(actions)
    watch = RangeWatch(normalizer, TrainingRange(actions, layout), layout)
    trembling = chunk.actions + 1e-4 * torch.randn(chunk.actions.shape)
    relative = to_relative(trembling, chunk.anchor, layout, chunk.mask)
    watch.look(normalizer.normalize(relative, chunk.mask), chunk.mask)
    assert not watch.warned


@pytest.mark.parametrize("name", DATASETS)
def test_held_out_recordings_never_warn(shared_data, name):
    dataset = RobotDataset.open(shared_data / name)
    split = split_episodes(dataset.reader.num_episodes)
    train, held_out = (
        Windows([dataset.episodes[i] for i in part], horizon_frames(dataset.fps), stride)
        for part, stride in ((split.train, 10), (split.held_out, 1))
    )
    builder = StatisticsBuilder(dataset.layout)
    builder.update(train.chunk(slice(None)))
    actions = builder.build().actions
    normalizer = Normalizer(actions)
    watch = RangeWatch(normalizer, TrainingRange(actions, dataset.layout), dataset.layout)
    for index in range(0, len(held_out), 7):
        chunk = held_out.chunk([index])
        mask = chunk.mask & normalizer.seen
        relative = to_relative(chunk.actions, chunk.anchor, dataset.layout, mask)
        watch.look(normalizer.normalize(relative, mask), mask)
    assert not watch.warned
