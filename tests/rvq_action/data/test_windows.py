"""Splits, windows and the idle rule."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from rvq_action import ActionLayout, Channel, DeltaRule, joint_space
from rvq_action.data import (
    Episode,
    IdleRule,
    RobotDataset,
    Split,
    Windows,
    horizon_frames,
    split_episodes,
)


def episode(length: int, index: int = 0, width: int = 3, **changes) -> Episode:
    """An episode whose values tell where they come from: 1000 * episode + 10 * frame + channel."""
    values = 1000 * (index + 1) + 10 * np.arange(length)[:, None] + np.arange(width)
    values = values.astype(np.float32)
    known = np.ones(width, dtype=bool)
    mask = np.arange(width) != 1
    base = Episode(index, "go", 10.0, "arm", joint_space(width), values, mask, -values, known)
    return dataclasses.replace(base, **changes)


def test_the_split_is_the_protocols():
    split = split_episodes(40, seed=0)
    order = np.random.default_rng(0).permutation(40)
    assert set(split.held_out) == set(order[:8].tolist()) and len(split.train) == 32
    assert not set(split.train) & set(split.held_out)
    assert Split.from_dict(split.to_dict()) == split
    assert split_episodes(40, seed=1) != split
    assert (len(split_episodes(2).held_out), len(split_episodes(3).held_out)) == (1, 1)
    assert len(split_episodes(3, held_out=0.9).train) == 1


def test_impossible_splits_are_refused():
    with pytest.raises(ValueError, match="1 episodes cannot be split"):
        split_episodes(1)
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        split_episodes(10, held_out=1.0)


@pytest.mark.parametrize(
    ("fps", "seconds", "frames"),
    [
        *((30, 1, 30), (10, 1, 10), (12.5, 1, 12), (30, 0.5, 15), (500, 0.256, 128)),
        *((30, None, 30), (1, None, 2), (500, None, 128)),
    ],
)
def test_the_horizon_follows_the_rate(fps, seconds, frames):
    assert horizon_frames(fps, seconds) == frames


@pytest.mark.parametrize(
    ("fps", "seconds", "range_"),
    [(500, 1, "0.004 to 0.256"), (1, 1, "2 to 128"), (30, 0, "0.0667"), (30, float("inf"), "4.27")],
)
def test_a_duration_that_fits_no_chunk_is_refused(fps, seconds, range_):
    with pytest.raises(ValueError, match=f"a chunk has 2 to 128: choose from .*{range_}"):
        horizon_frames(fps, seconds)


def test_full_windows_hold_the_right_frames_and_the_anchor_of_the_first():
    windows = Windows([episode(6), episode(3), episode(5, 7)], horizon=4)
    assert [(windows.episode_of(i), windows.start_of(i)) for i in range(len(windows))] == [
        *((0, 0), (0, 1), (0, 2)),
        *((7, 0), (7, 1)),
    ]
    chunk = windows.chunk([4, 1])
    assert (chunk.fps, chunk.embodiment, chunk.horizon) == (10.0, "arm", 4)
    expected = torch.tensor([[8010.0, 0, 8012], [8020, 0, 8022], [8030, 0, 8032], [8040, 0, 8042]])
    assert torch.equal(chunk.actions[0], expected)
    assert torch.equal(chunk.anchor, -torch.tensor([[8010.0, 8011, 8012], [1010, 1011, 1012]]))
    assert chunk.mask.tolist() == [[[True, False, True]] * 4] * 2 and chunk.anchor_mask.all()
    assert torch.equal(windows.chunk(slice(None)).actions[[4, 1]], chunk.actions)
    assert torch.equal(windows.chunk(torch.tensor([4, 1])).actions, chunk.actions)


def test_stride_skips_starts():
    windows = Windows([episode(9)], horizon=3, stride=3)
    assert windows.starts.tolist() == [0, 3, 6] and windows.episode_ids.tolist() == [0, 0, 0]


def test_tails_are_masked_and_exactly_zero():
    windows = Windows([episode(5), episode(2, 1)], horizon=4, tails=True)
    assert windows.starts.tolist() == [0, 1, 2, 3, 4, 0, 1]
    chunk = windows.chunk(slice(None))
    assert chunk.mask[:, :, 0].sum(1).tolist() == [4, 4, 3, 2, 1, 2, 1]
    assert not chunk.actions[~chunk.mask].any() and chunk.actions[chunk.mask].all()
    assert chunk.actions[6, 0].tolist() == [2010, 0, 2012]


def test_without_proprio_there_is_no_anchor():
    chunk = Windows([episode(5, proprio_mask=np.zeros(3, dtype=bool))], 4).chunk([0])
    assert chunk.anchor is None and chunk.anchor_mask is None


def test_values_of_absent_channels_never_get_in():
    dirty = episode(5)
    dirty.actions[:, 1] = np.nan
    assert Windows([dirty], 4).chunk([0]).actions[..., 1].eq(0).all()


def test_impossible_windows_are_named():
    with pytest.raises(ValueError, match="No episode has 9 frames; the longest has 6"):
        Windows([episode(6)], horizon=9)
    with pytest.raises(ValueError, match="outside 2..128"):
        Windows([episode(6)], horizon=1)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        Windows([episode(6)], horizon=4, stride=0)
    with pytest.raises(ValueError, match="no episodes"):
        Windows([], horizon=4)
    with pytest.raises(ValueError, match="one embodiment, rate and layout"):
        Windows([episode(6), episode(6, fps=30.0)], horizon=4)


def moving(values: np.ndarray, unit: str = "rad") -> Episode:
    values = np.asarray(values, dtype=np.float32).reshape(len(values), -1)
    names = [f"j{i}" for i in range(values.shape[1])]
    channels = tuple(Channel(n, unit, "arm/motion", DeltaRule.RAW) for n in names)
    known = np.ones(values.shape[1], dtype=bool)
    layout = ActionLayout("arm", channels)
    return Episode(0, "", 10.0, "arm", layout, values, known, values, known)


def rest_then_ramp() -> np.ndarray:
    return np.concatenate((np.zeros(20), np.linspace(0, 1, 20), np.ones(20)))


def test_windows_in_which_nothing_moves_are_left_out():
    arm = moving(rest_then_ramp())
    windows = Windows([arm], horizon=5, idle=IdleRule(kept=0.0))
    moves = [s for s in range(56) if np.ptp(rest_then_ramp()[s : s + 5]) > 0.02]
    assert windows.starts.tolist() == moves and len(moves) == 22
    some = Windows([arm], horizon=5, idle=IdleRule(kept=0.25))
    assert len(some) == len(windows) + 34 // 4 and set(windows.starts) < set(some.starts)
    assert len(Windows([arm], horizon=5, idle=IdleRule(kept=1.0))) == 56


def test_a_steady_velocity_is_motion_and_a_steady_position_is_not():
    values = np.concatenate((np.zeros(20), np.ones(20)))
    assert len(Windows([moving(values)], 5, idle=IdleRule(kept=0.0))) == 4
    assert len(Windows([moving(values, "rad/s")], 5, idle=IdleRule(kept=0.0))) == 20


def test_the_noise_of_a_joint_at_rest_is_no_motion():
    noise = 2e-4 * np.random.default_rng(0).normal(size=60)
    arm = moving(np.stack((rest_then_ramp(), noise), axis=1))
    assert len(Windows([arm], 5, idle=IdleRule(kept=0.0))) == 22


def test_tails_know_idleness_too():
    windows = Windows([moving(rest_then_ramp())], 5, tails=True, idle=IdleRule(kept=0.0))
    assert windows.starts.max() < 40


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ValueError, match="shares between 0 and 1"):
        IdleRule(kept=2.0)


REAL = {
    "so101_pick_tape": (8_641, 2_161),
    "g1_bottle": (11_633, 3_036),
    "cr5_banana": (10_369, 2_512),
    "droid_franka": (1_260, 567),
}


@pytest.mark.parametrize("name", REAL)
def test_real_recordings_give_one_second_windows(shared_data, name):
    dataset = RobotDataset.open(shared_data / name)
    split = split_episodes(len(dataset.episodes))
    horizon = horizon_frames(dataset.fps)
    cut = [
        Windows([dataset.episodes[i] for i in part], horizon)
        for part in (split.train, split.held_out)
    ]
    assert tuple(map(len, cut)) == REAL[name]
    chunk = cut[1].chunk(slice(None))
    assert chunk.actions.isfinite().all() and not chunk.actions[~chunk.mask].any()
    assert chunk.anchor.shape == (len(cut[1]), dataset.layout.width)
