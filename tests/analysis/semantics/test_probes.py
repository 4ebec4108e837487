"""The probes on codes that determine the pictures, and on codes that do not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.bootstrap import EpisodeBootstrap
from analysis.rows import Row
from analysis.semantics import ceiling, galleries, labels, next_frame, probe, retrieval
from analysis.semantics.codes import View, counts, one_hot
from analysis.semantics.labels import Label
from analysis.semantics.probe import Inputs
from analysis.semantics.seen import Seen
from analysis.semantics.subject import Subject
from tests.analysis.semantics.conftest import APART


def read(found) -> Inputs:
    sizes = np.full(found.training.shape[1], 8)
    return probe.linear(one_hot(found.training, sizes), one_hot(found.held_out, sizes))


def subject_of(found) -> Subject:
    """A stand-in for a tokenizer with the tokens of the windows."""
    codec = SimpleNamespace(
        sizes=lambda length: np.full(length, 8),
        levels=lambda length: np.zeros(length),
        embed=lambda tokens: tokens.astype(np.float32),
    )
    start = next_frame.start_inputs(found.data)
    return Subject(codec, found.data, start, [], found.training, found.held_out)


def row_of(result, plain=None) -> Row:
    row = Row("mine", "mine", "rvq")
    retrieval.report(row, result, plain)
    return row


def test_windows_of_a_gallery_keep_their_distance_and_seeds_differ(found):
    held_out = found.data.held_out
    for gallery in found.data.galleries:
        for episode in np.unique(held_out.episode):
            starts = held_out.start[gallery][held_out.episode[gallery] == episode]
            assert len(starts) > 10 and np.diff(starts).min() >= 10
    assert len({tuple(gallery) for gallery in found.data.galleries}) > 1
    assert len(galleries.draw(held_out.episode, held_out.start, 10, 0, size=7)) == 7


def test_a_tie_counts_against_the_query():
    assert galleries.ranks(np.ones((4, 4))).tolist() == [4, 4, 4, 4]
    assert galleries.ranks(np.eye(4)).tolist() == [1, 1, 1, 1]


def test_the_number_of_shared_tokens_is_the_kernel():
    tokens = np.array([[0, 1, -1], [0, 2, 3], [1, 2, 3]])
    sizes = np.array([2, 3, 4])
    product = (one_hot(tokens, sizes) @ one_hot(tokens, sizes).T).toarray()
    assert product.tolist() == [[2, 1, 0], [1, 3, 2], [0, 2, 3]]
    assert counts(np.array([[1, 1, -1], [2, 1, 0]]), 3).toarray().tolist() == [[0, 2, 0], [1, 1, 1]]


def test_codes_that_determine_the_pictures_find_them(found):
    metrics = row_of(retrieval.compute(read(found), found.data)).metrics
    assert metrics["retrieval_r1"] > 0.95 and metrics["retrieval_median_rank"] == 1


def by_chance(result) -> bool:
    """Whether a retrieval found no more than luck does."""
    expected = (result.candidates + 1) / 2
    middle = np.median(result.rank) == pytest.approx(expected, rel=0.35)
    return middle and result.hits(1).mean() < 4 / result.candidates


def test_codes_of_other_windows_find_nothing(found):
    assert by_chance(retrieval.compute(read(found).of_other_windows(), found.data))


class TestFloor:
    """What a probe finds that is fitted with shuffled pictures, and asked with the right codes."""

    def test_fitted_with_shuffled_pictures_a_probe_finds_nothing(self, found):
        for seed in range(3):
            data = found.data.with_shuffled_pictures(seed)
            assert by_chance(retrieval.compute(read(found), data))

    def test_it_rises_where_pictures_get_into_what_the_probe_reads(self, found):
        """Such a reading goes along with its pictures, however these are shuffled."""

        def leaking(data):
            return probe.linear(data.training.pictures, data.held_out.pictures)

        shuffled = found.data.with_shuffled_pictures()
        assert retrieval.compute(leaking(shuffled), shuffled).hits(1).mean() > 0.95
        hidden = leaking(shuffled).of_other_windows()
        assert by_chance(retrieval.compute(hidden, shuffled))

    def test_shuffled_questions_would_hide_a_probe_of_the_right_pictures(self, found):
        """Asked with other windows' codes it finds nothing, whatever it was fitted with."""
        inputs = read(found)
        asked = np.random.default_rng(0).permutation(len(inputs.across))
        other = inputs.take(np.arange(len(inputs.among)), asked)
        assert retrieval.compute(inputs, found.data).hits(1).mean() > 0.95
        assert by_chance(retrieval.compute(other, found.data))

    def test_pictures_stay_together_and_the_held_out_ones_with_their_windows(self, found):
        data, shuffled = found.data, found.data.with_shuffled_pictures()
        before, after = data.training, shuffled.training
        moved = (before.pictures != after.pictures).any(axis=1)
        assert moved.mean() > 0.95 and shuffled.held_out is data.held_out
        (order,) = np.nonzero((before.pictures == after.pictures[:1]).all(axis=1))
        assert (after.following[0] == before.following[order]).all()
        assert sorted(map(tuple, before.pictures)) == sorted(map(tuple, after.pictures))
        assert (after.episode == before.episode).all() and (after.start == before.start).all()

    def test_a_row_holds_it(self, found):
        """The tokenizer's own tokens find their pictures; the floor is that of three shuffles."""
        probed = subject_of(found).probed(View("", "all codes", np.ones(6, bool)))
        assert probed.retrieval.hits(1).mean() > 0.95 and len(probed.floor.each) == 3
        for seed, floor in enumerate(probed.floor.each):
            shuffled = found.data.with_shuffled_pictures(seed)
            np.testing.assert_array_equal(floor.rank, retrieval.compute(read(found), shuffled).rank)
            assert by_chance(floor)


def test_codes_that_never_change_find_nothing(found):
    same = [np.zeros_like(tokens) for tokens in (found.training, found.held_out)]
    inputs = probe.linear(*(one_hot(tokens, np.full(6, 8)) for tokens in same))
    inputs += probe.standardised(*(tokens.astype(np.float32) for tokens in same))
    assert not inputs.among.any() and not inputs.across.any()
    assert retrieval.compute(inputs, found.data).hits(1).mean() < 0.1


def test_what_is_found_first_is_named(found):
    result = retrieval.compute(read(found), found.data)
    first = result.nearest[:, 0] == result.query
    assert (first == (result.rank == 1)).all()
    assert (np.sort(result.nearest, axis=1)[:, 1:] != np.sort(result.nearest, axis=1)[:, :-1]).all()


def test_the_median_rank_is_one_of_the_ranks_and_inside_its_interval(found):
    result = retrieval.compute(read(found), found.data)
    ranks = np.where(np.arange(len(result.rank)) % 5 < 3, 1, 7)
    row = row_of(replace(result, rank=ranks))
    low, high = row.intervals["retrieval_median_rank"]
    assert low <= row.metrics["retrieval_median_rank"] == 1 <= high


def test_against_itself_a_tokenizer_differs_by_nothing(found):
    result = retrieval.compute(read(found), found.data)
    row = row_of(result, result)
    assert row.metrics["retrieval_r1_over_plain"] == 0
    assert row.intervals["retrieval_r1_over_plain"] == (0, 0)
    assert row.metrics["retrieval_r1_times_plain"] == 1


def test_the_difference_is_paired_query_by_query(found):
    good = retrieval.compute(read(found), found.data)
    worse = replace(good, rank=np.where(good.episode % 2 == 0, good.rank, 9))
    row = row_of(good, worse)
    lost = (good.hits(1) - worse.hits(1)).mean()
    assert row.metrics["retrieval_r1_over_plain"] == pytest.approx(lost)
    bootstrap = EpisodeBootstrap(good.episode)
    assert row.intervals["retrieval_r1_over_plain"] == pytest.approx(
        tuple(bootstrap.mean(good.hits(1) - worse.hits(1)))[1:]
    )


def test_nothing_of_the_held_out_pictures_enters_the_fit(found):
    data = found.data
    blind = np.full_like(data.held_out.first, np.nan)
    unseen = replace(data, held_out=replace(data.held_out, first=blind, last=blind))
    whiten = retrieval.Whitening.fit(data.training.pictures)

    def predicted(given):
        loss = retrieval.validation_loss(given, whiten)
        return probe.predict(read(found), given.training.pictures, given.validation, loss).values

    np.testing.assert_array_equal(predicted(data), predicted(unseen))


def test_the_strength_is_chosen_where_validation_loses_least(found):
    data = found.data
    targets = data.training.pictures
    checked = targets[data.validation]

    def loss(predicted):
        return float(np.square(predicted - checked).mean())

    noisy = probe.linear(*np.split(np.random.default_rng(1).normal(size=(480, 300)), [320]))
    useless = probe.predict(noisy, targets, data.validation, loss)
    useful = probe.predict(read(found), targets, data.validation, loss)
    assert useful.strength < useless.strength and useful.loss < 0.2 * useless.loss


def test_the_next_frame_takes_the_codes_and_not_the_start_alone(found):
    data, start = found.data, next_frame.start_inputs(found.data)
    alone = next_frame.compute(start, None, data)
    told = next_frame.compute(start, read(found), data)
    shuffled = next_frame.compute(start, read(found).of_other_windows(), data)
    assert len(told.error) == data.held_out.followed.sum()
    assert told.skill().value > 0.95
    assert alone.skill().value == pytest.approx(shuffled.skill().value, abs=0.05)
    assert told.over(alone).low > 0.4
    assert told.over(told) == (0, 0, 0)


def steps(monkeypatch, most: int) -> None:
    """Trainings of the ceiling that are over after so many steps, with two looks at validation."""
    monkeypatch.setattr(ceiling, "STEPS", most)
    monkeypatch.setattr(ceiling, "CHECK_EVERY", most // 2)


def test_the_ceiling_learns_what_the_chunk_tells(found, monkeypatch):
    steps(monkeypatch, 60)
    sizes = np.full(6, 8)
    dense = [one_hot(t, sizes).toarray() for t in (found.training, found.held_out)]
    result = ceiling.compute(ceiling.Reading(*dense), found.data)
    assert all(fit.hits(1).mean() > 0.15 for fit in result.each)
    steps(monkeypatch, 10)
    nothing = ceiling.Reading(*(np.zeros_like(part) for part in dense))
    assert ceiling.compute(nothing, found.data).hits(1).mean() < 0.1


def test_the_ceiling_is_trained_with_three_seeds_and_comes_out_the_same_again(found, monkeypatch):
    steps(monkeypatch, 10)
    tokens = [part.astype(np.float32) for part in (found.training, found.held_out)]
    first, again = (ceiling.compute(ceiling.Reading(*tokens), found.data) for _ in range(2))
    assert len({tuple(fit.rank) for fit in first.each}) == len(first.each) == 3
    for one, other in zip(first.each, again.each, strict=True):
        np.testing.assert_array_equal(one.rank, other.rank)


def task_label(found) -> Label:
    found_labels, missing = labels.labels_of(
        replace(found.data, data=type("Data", (), {"channels": [], "layout": None}))
    )
    assert missing == {"gripper_event": "the layout has no gripper"}
    return found_labels[0]


def test_a_rare_task_is_told_as_well_as_a_common_one(found):
    label = task_label(found)
    assert label.classes == ["common", "rare"] and np.mean(label.training) < 0.4
    told = labels.compute(read(found), label, found.data)
    assert told.balanced_accuracy().value > 0.95
    assert labels.majority(label) == 0.5
    guessed = labels.compute(read(found).of_other_windows(), label, found.data)
    assert guessed.balanced_accuracy().value == pytest.approx(0.5, abs=0.15)


def test_one_task_is_no_question(found):
    same = np.full(len(found.data.training), "go", dtype=object)
    training = replace(found.data.training, tasks=same)
    data = replace(
        found.data, training=training, data=type("Data", (), {"channels": [], "layout": None})
    )
    assert labels.labels_of(data)[1]["task"] == "all episodes have one task"


def test_a_gripper_that_opens_is_an_event_and_found(found):
    """It opens where the first token says so; else it trembles, open or closed; the arm moves."""
    ramp, arm = np.linspace(0, 1, APART), np.linspace(0, 9, APART)

    def moving(seen: Seen, tokens: np.ndarray) -> Seen:
        opens, held = (tokens[:, :1] < 2), tokens[:, 1:2] % 2
        gripper = np.where(opens, ramp, np.abs(held - 0.2 * ramp))
        relative = np.stack([np.broadcast_to(arm, gripper.shape), gripper], axis=2)
        return replace(seen, batch=SimpleNamespace(relative=relative))

    units = [SimpleNamespace(unit=unit) for unit in ("gripper", "m", "gripper")]
    eval_set = SimpleNamespace(channels=[1, 2], layout=SimpleNamespace(channels=units))
    training, held_out = (
        moving(getattr(found.data, part), getattr(found, part)) for part in ("training", "held_out")
    )
    data = replace(found.data, data=eval_set, training=training, held_out=held_out)
    _, label = labels.labels_of(data)[0]
    assert label.name == "gripper_event" and label.classes == ["still", "moves"]
    np.testing.assert_array_equal(label.training, found.training[:, 0] < 2)
    np.testing.assert_array_equal(label.held_out, found.held_out[:, 0] < 2)
    told = labels.compute(read(found), label, data)
    assert told.balanced_accuracy().value > 0.95
    guessed = labels.compute(read(found).of_other_windows(), label, data)
    assert guessed.balanced_accuracy().value == pytest.approx(0.5, abs=0.15)
