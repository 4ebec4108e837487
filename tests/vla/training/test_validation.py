"""Held-out actions: whose they are, and what an error of 0 means."""

from __future__ import annotations

import copy

import pytest
import torch

from vla.data.robot_source import RobotSource
from vla.training.validation import ValidationSettings, held_out_windows, measure


@pytest.fixture
def held_out(policy, recordings):
    source = RobotSource.open(recordings, policy.config, policy.tokenizer, part="held_out")
    settings = ValidationSettings(windows=5, batch_size=2)
    return source, held_out_windows(policy, source, settings)


def test_windows_are_of_episodes_that_training_never_sees(policy, recordings, held_out):
    source, part = held_out
    train = RobotSource.open(recordings, policy.config, policy.tokenizer)
    seen = {train.windows.episode_of(i) for i in range(len(train.windows))}
    looked_at = {source.windows.episode_of(i) for i in range(len(source.windows))}
    assert looked_at == set(source.split.held_out) and not seen & looked_at
    assert [len(chunk) for chunk in part.chunks] == [2, 2, 1]


def test_demonstrated_actions_have_no_error_and_others_have(policy, held_out):
    policy, (_, part) = copy.copy(policy), held_out
    targets = iter([policy.tokenizer.prepare(chunk).x for chunk in part.chunks])
    model = copy.copy(policy.model)
    object.__setattr__(policy, "model", model)
    model.sample_actions = lambda batch, noise: next(targets)
    errors = measure(policy, part)
    assert errors["model_space"] == 0 and len(errors) > 1
    assert all(error < 1e-5 for error in errors.values())
    model.sample_actions = lambda batch, noise: torch.ones_like(noise)
    assert measure(policy, part)["model_space"] > 0.1


def test_the_same_windows_and_noise_every_time(policy, held_out):
    source, part = held_out
    again = held_out_windows(policy, source, ValidationSettings(windows=5, batch_size=2))
    for one, other in zip(part.noise, again.noise, strict=True):
        assert torch.equal(one, other)
    assert measure(policy, part) == measure(policy, again)
