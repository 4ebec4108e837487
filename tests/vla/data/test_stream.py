"""SampleStream: the batches of a policy, from recordings and talk on disk."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from rvq_action.data.dataset import RobotDataset
from rvq_action.data.samplers import group_shares
from rvq_action.data.split import Split
from tests.synthetic import frame_of, write_v3
from tests.vla.data.conftest import STILL
from vla.config import VLAConfig
from vla.data.robot_source import RobotSource
from vla.data.settings import DataSettings
from vla.data.stream import MicroBatches, SampleStream
from vla.images import fit
from vla.sequence import Batch
from vla.tokens import TokenType


def settings(recordings, talks=None, **more) -> DataSettings:
    files = () if talks is None else (str(talks),)
    usual = {"batch_size": 5, "accumulation": 2, "workers": 0}
    return DataSettings((str(recordings),), files, **{**usual, **more})


@pytest.fixture(scope="module")
def stream(policy, recordings, talks) -> SampleStream:
    return SampleStream.open(policy.samples, settings(recordings, talks))


def assert_equal(first: Batch, second: Batch) -> None:
    for name, value in vars(first).items():
        other = getattr(second, name)
        same = torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
        assert same, name


def test_a_global_batch_holds_nine_robots_and_one_talk(stream):
    for step in range(3):
        samples = [s for micro in range(2) for s in stream.samples(step, micro)]
        robots = [len(sample.actions) > 0 for sample in samples]
        assert len(samples) == 10 and sum(robots) == 9
        for sample, robot in zip(samples, robots, strict=True):
            assert bool((sample.types == TokenType.ACTION).any()) == robot


def test_a_batch_is_a_function_of_its_number_alone(policy, recordings, talks, stream):
    again = SampleStream.open(policy.samples, settings(recordings, talks))
    torch.manual_seed(7)
    for number in (5, 0, 3):
        assert_equal(stream.batch(number), again.batch(number))
    other = SampleStream.open(policy.samples, settings(recordings, talks, seed=1))
    assert not torch.equal(other.batch(0).ids, stream.batch(0).ids)


def test_workers_and_a_later_start_change_nothing(stream):
    loader = DataLoader(
        MicroBatches(stream, 3, 8), None, num_workers=2, multiprocessing_context="fork"
    )
    found = list(loader)
    assert len(found) == 5
    for number, batch in zip(range(3, 8), found, strict=True):
        assert_equal(batch, stream.batch(number))


def test_processes_read_the_same_global_batch_as_one(policy, recordings, talks):
    def ids(number_of_processes: int, **how):
        given = settings(recordings, talks, **how)
        samples = []
        for rank in range(number_of_processes):
            part = SampleStream.open(policy.samples, given, rank, number_of_processes)
            samples += [s for m in range(given.accumulation) for s in part.samples(1, m)]
        return sorted(tuple(s.ids.tolist()) for s in samples)

    assert ids(2, batch_size=5, accumulation=1) == ids(1, batch_size=10, accumulation=1)


def test_groups_get_the_root_of_their_windows_up_to_the_cap(policy, recordings, talks):
    given = settings(recordings, talks, cap=0.5, power=0.5)
    sampler = SampleStream.open(policy.samples, given).robot_sampler
    tasks = RobotSource.open(recordings, policy.config, policy.tokenizer).windows.tasks
    counts = [tasks.count(task) for _, task in sampler.groups]
    np.testing.assert_allclose(sampler.shares, group_shares(counts, 0.5, 0.5))
    np.testing.assert_allclose(group_shares([1, 4, 10_000], cap=0.4), [0.2, 0.4, 0.4])
    drawn = sampler.draws(0, len(sampler))[:, 1]
    times = [sum(tasks[w] == task for w in drawn) for _, task in sampler.groups]
    assert np.abs(times - sampler.shares * len(sampler)).max() < 1


def test_what_the_tokenizer_held_out_is_never_shown(policy, recordings):
    source = RobotSource.open(recordings, policy.config, policy.tokenizer)
    recorded = Split.from_dict(policy.tokenizer.metadata["split"]["go_stop"])
    assert source.split == recorded
    assert set(source.windows.episode_ids) == set(recorded.train)
    shorter = {"go_stop": {**recorded.to_dict(), "held_out": [9]}}
    tokenizer = replace(policy.tokenizer, metadata={"split": shorter})
    with pytest.raises(ValueError, match="names episode 9"):
        RobotSource.open(recordings, policy.config, tokenizer)


def test_pictures_actions_and_words_are_of_one_moment(policy, recordings):
    source = RobotSource.open(recordings, policy.config, policy.tokenizer)
    episodes = RobotDataset.open(recordings).episodes
    for index in (0, 11, len(source.windows) - 1):
        episode, start = source.windows.episode_of(index), source.windows.start_of(index)
        time = [start / source.dataset.fps]
        recorded = source.dataset.reader.frames(episode, source.cameras["front"], time)[0]
        assert frame_of(recorded) == start
        shown = fit(recorded, policy.config.image_size)
        np.testing.assert_array_equal(source.images(index)["front"], shown)
        chunk = source.chunk([index])
        real = min(10, len(episodes[episode]) - start)
        expected = episodes[episode].actions[start : start + real]
        np.testing.assert_array_equal(chunk.actions[0, :real], expected)
        assert chunk.mask[0].sum() == 3 * real
        np.testing.assert_array_equal(chunk.anchor[0], episodes[episode].proprio[start])
        told = {source.instruction(index, 0.5, np.random.default_rng(seed)) for seed in range(20)}
        assert told == {episodes[episode].task, "reach" if start < 10 else "pull"}
        assert source.instruction(index, 0.0, np.random.default_rng(0)) == episodes[episode].task


def test_the_flow_target_stays_and_the_prompt_differs(policy, recordings):
    """Chance changes what is shown, never what is to be reached."""
    still = SampleStream.open(policy.samples, settings(recordings, **STILL))
    moved = SampleStream.open(policy.samples, settings(recordings))
    for plain, changed in zip(still.samples(0), moved.samples(0), strict=True):
        assert torch.equal(plain.actions, changed.actions)
        assert torch.equal(plain.action_mask, changed.action_mask)
        assert not torch.equal(plain.pixels, changed.pixels)
        assert not torch.equal(plain.proprio, changed.proprio)


def test_codes_are_those_of_the_recorded_actions(policy, recordings):
    stream = SampleStream.open(policy.samples, settings(recordings, **STILL, batch_size=3))
    place = stream.plan.places(0)[0]
    _, window = stream.robot_sampler.draws(place.draw, 1)[0]
    chunk = stream.robots[0].chunk([window])
    codes = policy.tokenizer.encode(chunk.actions, chunk.anchor, mask=chunk.mask)
    sample = stream.samples(0)[0]
    ids = sample.ids[sample.types == TokenType.ACTION][:-1]
    assert torch.equal(policy.vocabulary.actions.to_codes(ids[None])[0], codes[0])


def test_without_talk_robots_fill_the_batch(policy, recordings, caplog):
    with caplog.at_level(logging.INFO):
        stream = SampleStream.open(policy.samples, settings(recordings))
    assert "every batch is robots' alone" in caplog.text
    assert all(len(sample.actions) for sample in stream.samples(0))


class TestRefusals:
    def test_a_robot_that_the_tokenizer_does_not_know(self, policy, recordings):
        tokenizer = replace(
            policy.tokenizer, embodiments={"other": policy.tokenizer.embodiments["test_arm"]}
        )
        with pytest.raises(ValueError, match="'test_arm', but the action tokenizer knows"):
            RobotSource.open(recordings, policy.config, tokenizer)

    def test_a_camera_that_is_missing(self, policy, recordings):
        config = VLAConfig.tiny().for_tokenizer(policy.tokenizer, {"test_arm": ("wrist",)})
        with pytest.raises(ValueError, match=r"no camera \['wrist'\]; it has \['front'\]"):
            RobotSource.open(recordings, config, policy.tokenizer)

    def test_recordings_that_tell_nothing(self, policy, tmp_path):
        path = write_v3(tmp_path / "silent", (20, 20), tasks=("unknown",))
        with pytest.raises(ValueError, match="tells no task"):
            RobotSource.open(path, policy.config, policy.tokenizer)

    def test_one_dataset_twice(self, policy, recordings):
        given = replace(settings(recordings), datasets=(str(recordings),) * 2)
        with pytest.raises(ValueError, match="share the folder names"):
            SampleStream.open(policy.samples, given)

    @pytest.mark.parametrize(
        "wrong", [{"datasets": ()}, {"datasets": "one"}, {"step_share": 2.0}, {"robots": 0}]
    )
    def test_settings(self, wrong):
        with pytest.raises(ValueError):
            DataSettings(**{"datasets": ("one",), **wrong})
