"""Layers 1 and 2: what is wrong with a policy shows before anything moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rvq_action import WALL_26
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.windows import Windows, horizon_frames
from tests.rvq_action.robots import ARM, RECIPE, arm_chunk, embodiment_of, fit, wall_chunk
from tests.vla.conftest import start
from vla.config import VLAConfig
from vla.evaluation.layers import open_loop, sanity
from vla.evaluation.layers.gates import Gates
from vla.evaluation.layers.settings import EvalSettings
from vla.evaluation.layers.subject import Subject
from vla.policy import VLAPolicy


def failing(checks) -> list[str]:
    return [check.name for check in checks if not check.passed]


def answering(monkeypatch, subject: Subject, answer) -> None:
    """Let the policy answer at held-out windows with what a function of their chunk gives."""
    shown: dict[int, torch.Tensor] = {}
    whole = Subject.shown

    def remember(self, rows):
        seen, chunk = whole(self, rows)
        shown.update({id(o): a for o, a in zip(seen, answer(chunk), strict=True)})
        return seen, chunk

    def act(self, seen, seed):
        return [shown[id(o)].numpy() for o in seen]

    monkeypatch.setattr(Subject, "shown", remember)
    monkeypatch.setattr(Subject, "act", act)


def test_a_policy_answers_as_its_robot_needs_it(subject):
    figures = sanity.measure(subject)
    assert failing(sanity.judge(figures, Gates())) == []
    assert figures["shape"] == [10, 3] and figures["embodiment"] == "test_arm"
    assert figures["changed_by_seed"] > 0 and set(figures["heeds"]) == {"pictures", "instruction"}


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda a: a * np.nan, ["finite values", "values outside the training range"]),
        (lambda a: a + 1e3, ["values outside the training range"]),
        (lambda a: a[:-1], ["shape [T, D]"]),
        (lambda a: a.astype(np.float64), ["dtype"]),
    ],
)
def test_answers_that_a_robot_must_not_get_are_found(subject, monkeypatch, spoil, found):
    right = Subject.act
    monkeypatch.setattr(Subject, "act", lambda s, o, n: [spoil(a) for a in right(s, o, n)])
    assert set(failing(sanity.judge(sanity.measure(subject), Gates()))) >= set(found)


def test_noise_that_cannot_be_repeated_is_found(subject, monkeypatch):
    right, calls = Subject.act, iter(range(100))
    monkeypatch.setattr(Subject, "act", lambda s, o, n: right(s, o, next(calls)))
    assert failing(sanity.judge(sanity.measure(subject), Gates())) == ["same seed, largest change"]


def test_a_robot_that_the_policy_does_not_know_is_named(subject):
    foreign = fit({"arm": (ARM, arm_chunk(512)), "wall": (WALL_26, wall_chunk(512))})
    other = replace(subject, policy=start(foreign))
    (check,) = sanity.judge(sanity.measure(other), Gates())
    assert not check.passed and "is of the robot 'test_arm'" in check.detail
    blind = replace(subject.policy.config, cameras={"test_arm": ("nose",)})
    other = replace(subject, policy=replace(subject.policy, config=blind))
    (check,) = sanity.judge(sanity.measure(other), Gates())
    assert not check.passed and "has no camera ['nose']" in check.detail


def test_the_normalisation_of_another_unit_is_found(subject):
    """A policy whose tokenizer was fitted on joints a hundred times smaller."""
    dataset = subject.source.dataset
    chunk = Windows(dataset.episodes, 10).chunk(slice(None))
    small = replace(chunk, actions=0.01 * chunk.actions, anchor=0.01 * chunk.anchor)
    tokenizer = fit({dataset.embodiment: (dataset.layout, small)})
    config = VLAConfig.tiny().for_tokenizer(tokenizer, {dataset.embodiment: ("front",)})
    other = replace(subject, policy=VLAPolicy.start(config, tokenizer))
    wrong = failing(sanity.judge(sanity.measure(other), Gates()))
    assert wrong == ["state unlike training", "recorded actions unlike training"]


def test_who_repeats_what_was_done_is_right(subject, monkeypatch):
    answering(monkeypatch, subject, lambda chunk: chunk.actions)
    figures = open_loop.measure(subject)
    assert failing(open_loop.judge(figures, Gates())) == []
    assert figures["model_space"]["policy"] == pytest.approx(0, abs=1e-6)
    (errors,) = figures["groups"].values()
    assert max(errors["policy"]) < 1e-6 < min(errors["holding"][1:])
    assert len(errors["holding"]) == len(errors["mean_action"]) == figures["horizon"] == 10
    assert figures["saturation"].keys() == figures["recorded_saturation"].keys()


def test_who_holds_is_no_better_than_holding(subject, monkeypatch):
    answering(monkeypatch, subject, lambda c: c.anchor[:, None].expand_as(c.actions))
    figures = open_loop.measure(subject)
    (errors,) = figures["groups"].values()
    np.testing.assert_allclose(errors["policy"], errors["holding"], atol=1e-4)
    assert failing(open_loop.judge(figures, Gates())) == ["error in model space"]


def test_the_mean_of_training_is_the_best_of_what_looks_at_nothing(subject):
    """In the mean square over training windows nothing that is always the same is better."""
    windows = subject.training_windows()
    given = subject.policy.tokenizer.prepare(windows.chunk(slice(None)))
    mean = open_loop.mean_chunk(subject)

    def error(chunk: torch.Tensor) -> float:
        return float((((given.x - chunk) ** 2) * given.mask).sum())

    assert error(mean) < min(error(mean + 0.01), error(mean - 0.01), error(mean.flip(0)))


def test_only_held_out_episodes_are_looked_at(subject):
    figures = open_loop.measure(subject)
    assert set(figures["episodes"]) == set(subject.source.split.held_out)


def test_a_policy_at_the_edge_of_everything_is_found(subject, monkeypatch):
    known = subject.policy.tokenizer.embodiments["test_arm"]

    def edge(chunk):
        far = known.range.high.expand_as(chunk.actions)
        return chunk.anchor[:, None] + far

    answering(monkeypatch, subject, edge)
    figures = open_loop.measure(subject)
    assert min(figures["saturation"].values()) > 0.9
    assert any(n.startswith("saturation") for n in failing(open_loop.judge(figures, Gates())))


def test_a_real_robots_dataset_is_looked_at(shared_data):
    """Ten frames of a CR5's measured velocities, and the camera at its wrist."""
    from rvq_action.analytic import fit_closed_form

    dataset = RobotDataset.open(shared_data / "cr5_banana")
    windows = Windows(dataset.episodes[:20], horizon_frames(dataset.fps), stride=10)
    chunk = windows.chunk(slice(None))
    known = replace(embodiment_of(dataset.layout, chunk), mapping=dataset.mapping.to_dict())
    tokenizer = fit_closed_form([chunk], {dataset.embodiment: known}, RECIPE)
    torch.manual_seed(0)
    config = VLAConfig.tiny().for_tokenizer(tokenizer, {dataset.embodiment: ("top",)})
    settings = EvalSettings("policy", data=str(dataset.path), windows=6, steps=2)
    subject = Subject(VLAPolicy.start(config, tokenizer), settings)
    assert failing(sanity.judge(sanity.measure(subject), Gates())) == []
    figures = open_loop.measure(subject)
    assert figures["windows"] == 6 and figures["horizon"] == 10
    for group in figures["groups"].values():
        assert len(group["policy"]) == 10 and all(np.isfinite(group["policy"]))
