"""Whether a tokenizer notices data that are not like its own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rvq_action import ActionChunk, ActionTokenizer
from rvq_action.analytic import fit_closed_form
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.split import split_episodes
from rvq_action.data.windows import Windows, horizon_frames
from rvq_action.novelty.calibration import KEY, Calibration, calibrated
from rvq_action.novelty.dataset_fit import DatasetFit, fit_of
from tests.rvq_action.robots import ARM, RECIPE, arm_chunk, embodiment_of, fit, wall_chunk

LINEAR = torch.tensor([1.0, 1.0, 1.0, 0.0])


def score(tokenizer: ActionTokenizer, chunk: ActionChunk):
    return tokenizer.score(
        chunk.actions, chunk.anchor, chunk.embodiment, chunk.fps, mask=chunk.mask
    )


def shuffled(chunk: ActionChunk) -> ActionChunk:
    """The same frames in another order."""
    keys = torch.rand(chunk.mask.shape[:2], generator=torch.Generator().manual_seed(0))
    order = keys.argsort(1)[..., None].expand_as(chunk.actions)
    return replace(chunk, actions=chunk.actions.gather(1, order), mask=chunk.mask.gather(1, order))


@pytest.mark.parametrize("make", [arm_chunk, wall_chunk])
def test_a_hundredth_of_the_fitted_windows_score_above_one(closed_form, make):
    scores = score(closed_form, make(1024)).out_of_distribution
    assert 0.002 < (scores > 1).float().mean() < 0.025


@pytest.mark.parametrize("make", [arm_chunk, wall_chunk])
def test_new_windows_of_the_same_motion_fit_and_shuffled_ones_do_not(closed_form, make):
    fresh = fit_of(closed_form, [make(256, seed=9), make(100, seed=10)])
    assert fresh.fits and fresh.chunks == 356 and fresh.beyond < 0.1 and 0.7 < fresh.usual < 1.5
    other = fit_of(closed_form, [shuffled(make(256, seed=9))])
    assert not other.fits and other.beyond > 0.5 and other.usual > 5


def test_bolder_motions_leave_more_over(closed_form):
    chunk = arm_chunk(256, seed=9)
    base = chunk.anchor[:, None] * LINEAR
    medians = [
        float(score(closed_form, replace(chunk, actions=actions)).out_of_distribution.median())
        for actions in (base + size * (chunk.actions - base) for size in (1.0, 1.5, 2.5))
    ]
    assert medians == sorted(medians) and medians[2] > 3 * medians[0]


def test_units_that_make_values_larger_saturate(closed_form):
    chunk = arm_chunk(64, seed=9)
    scale = torch.where(LINEAR > 0, 57.3, 1.0)
    with pytest.warns(UserWarning, match="far outside"):
        closed_form.encode(chunk.actions * scale, chunk.anchor * scale, "arm")
    plain = score(closed_form, chunk)
    large = score(
        closed_form, replace(chunk, actions=chunk.actions * scale, anchor=chunk.anchor * scale)
    )
    assert (large.out_of_distribution > 1).all()
    assert large.saturation.median() > 100 * plain.saturation.median()


def test_units_that_make_values_smaller_show_in_proprio():
    generator = torch.Generator().manual_seed(0)
    posture = 60 + 10 * torch.rand(512, 4, generator=generator) * LINEAR

    def standing(seed: int, count: int) -> ActionChunk:
        chunk = arm_chunk(count, seed=seed)
        shift = posture[:count] * LINEAR
        return replace(chunk, actions=chunk.actions + shift[:, None], anchor=chunk.anchor + shift)

    tokenizer = fit({"arm": (ARM, standing(0, 512))}, RECIPE)
    held_out = standing(5, 128)
    assert fit_of(tokenizer, [held_out]).fits
    scale = torch.where(LINEAR > 0, math.pi / 180, 1.0)
    small = replace(held_out, actions=held_out.actions * scale, anchor=held_out.anchor * scale)
    assert (score(tokenizer, small).out_of_distribution > 1).all()
    assert not fit_of(tokenizer, [small]).fits


def test_validation_windows_decide_where_they_are_worse(closed_form):
    fitted, other = arm_chunk(256), shuffled(arm_chunk(256, seed=9))
    alone = Calibration.of(calibrated(closed_form, [fitted]), "arm")
    joint = calibrated(closed_form, [fitted], [other])
    assert Calibration.of(joint, "arm").residual[1] > 5 * alone.residual[1]
    assert joint.metadata[KEY]["arm"]["validation"]["windows"] == 256
    mild = Calibration.of(calibrated(closed_form, [other], [fitted]), "arm")
    assert mild.residual == Calibration.of(calibrated(closed_form, [other]), "arm").residual
    assert fit_of(joint, [other]).fits and not fit_of(closed_form, [other]).fits


def test_the_calibration_travels_with_the_artefact(closed_form, tmp_path):
    closed_form.save_pretrained(tmp_path / "tokenizer")
    again = ActionTokenizer.from_pretrained(tmp_path / "tokenizer")
    chunk = arm_chunk(16, seed=9)
    assert torch.equal(
        score(again, chunk).out_of_distribution, score(closed_form, chunk).out_of_distribution
    )


def test_an_artefact_without_calibration_still_works_and_says_what_is_missing(closed_form):
    chunk = arm_chunk(4)
    old = replace(closed_form, metadata={})
    assert old.encode(chunk.actions, chunk.anchor, "arm").shape == (4, 6, 3)
    with pytest.raises(ValueError, match=r"stores no calibration for 'arm'.*calibrated\("):
        score(old, chunk)
    damaged = replace(closed_form, metadata={KEY: {"arm": {"fitted": {"residual": [1]}}}})
    with pytest.raises(ValueError, match="calibration for 'arm' .* is damaged"):
        score(damaged, chunk)


def test_arrays_give_arrays(closed_form):
    chunk = arm_chunk(4)
    fit = closed_form.score(chunk.actions.numpy(), chunk.anchor.numpy(), "arm")
    for field in (fit.residual, fit.saturation, fit.out_of_distribution):
        assert isinstance(field, np.ndarray) and field.shape == (4,)


def test_there_must_be_something_to_judge(closed_form):
    with pytest.raises(ValueError, match="no chunk to judge"):
        fit_of(closed_form, [])


def test_the_verdict_is_a_sentence():
    assert str(DatasetFit(200, 0.05, 1.1)) == (
        "The tokenizer fits: 5.0% of 200 chunks are worse than 99% of its calibration windows, and "
        "the median error is 1.1 times theirs."
    )
    assert str(DatasetFit(200, 0.5, 1.1)).startswith("The tokenizer does not fit: 50.0%")
    assert not DatasetFit(200, 0.05, 3.0).fits


def test_a_real_robot_fits_its_own_tokenizer_and_in_radians_it_does_not(shared_data):
    dataset = RobotDataset.open(shared_data / "so101_pick_tape")
    split = split_episodes(dataset.reader.num_episodes)
    train, validation, held_out = (
        Windows([dataset.episodes[i] for i in part], horizon_frames(dataset.fps), 6).chunk(
            slice(None)
        )
        for part in (split.train[4:], split.train[:4], split.held_out)
    )
    recipe = ClosedFormRecipe(codebook_size=256, iterations=2, samples_per_code=8, depth=0)
    known = {train.embodiment: embodiment_of(dataset.layout, train)}
    tokenizer = calibrated(fit_closed_form([train], known, recipe), [train], [validation])
    assert fit_of(tokenizer, [held_out]).fits
    radians = replace(
        held_out,
        actions=held_out.actions * math.pi / 180,
        anchor=held_out.anchor * math.pi / 180,
    )
    for wrong in (radians, shuffled(held_out), replace(held_out, anchor=held_out.anchor.flip(0))):
        assert not fit_of(tokenizer, [wrong]).fits
