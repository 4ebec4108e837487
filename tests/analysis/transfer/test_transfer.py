"""Transfer: resampling against motions that are known, cases on real recordings."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.bootstrap import EpisodeBootstrap
from analysis.cli import main
from analysis.loading import LoadedTokenizer
from analysis.rows import Row
from analysis.score import RatePoint
from analysis.transfer import joint, page, study, text
from analysis.transfer.case import Case
from analysis.transfer.conditions import Condition, conditions_of, cut, possible
from analysis.transfer.resample import resample
from rvq_action import WALL_26
from rvq_action.data.episode import Episode
from rvq_action.rotation import (
    axis_angle_to_matrix,
    geodesic_angle,
    matrix_to_rot6d,
    rot6d_to_matrix,
)


def recording(fps: float, frames: int, mask: np.ndarray | None = None) -> Episode:
    """The right arm goes straight, turns steadily by 1 rad/s and closes its gripper once."""
    time = torch.arange(frames, dtype=torch.float64) / fps
    actions = np.zeros((frames, 26), np.float32)
    right = WALL_26.index("right_x")
    actions[:, right] = 0.3 * time
    axis = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    turned = matrix_to_rot6d(axis_angle_to_matrix(time[:, None] * axis))
    actions[:, right + 3 : right + 9] = turned
    actions[:, right + 9] = time >= 0.5
    known = np.zeros(26, bool)
    known[right : right + 10] = True
    return Episode(0, "", fps, "arm", WALL_26, actions, known, actions.copy(), known)


@pytest.mark.parametrize("fps", [10.0, 50.0, 24.0])
def test_resampling_follows_straight_lines_turns_and_switches(fps):
    given, right = recording(30.0, 61), WALL_26.index("right_x")
    result = resample(given, fps)
    truth = recording(fps, len(result))
    assert result.fps == fps and len(result) == int(2 * fps) + 1
    np.testing.assert_allclose(result.actions[:, right], truth.actions[:, right], atol=1e-6)
    block = slice(right + 3, right + 9)
    ours, theirs = (rot6d_to_matrix(torch.from_numpy(e.actions[:, block])) for e in (result, truth))
    assert geodesic_angle(ours, theirs).max() < 1e-3
    assert set(np.unique(result.actions[:, right + 9])) == {0.0, 1.0}
    assert not result.actions[:, :right].any()
    np.testing.assert_allclose(result.proprio, result.actions)


def test_resampling_at_the_same_rate_changes_nothing():
    given = recording(30.0, 40)
    np.testing.assert_allclose(resample(given, 30.0).actions, given.actions, atol=1e-6)


def test_a_rotation_does_not_leave_the_sphere_on_long_ways():
    given, right = recording(1.0, 4), WALL_26.index("right_x")
    result = resample(given, 4.0)
    columns = result.actions[:, right + 3 : right + 9].reshape(-1, 2, 3)
    np.testing.assert_allclose(np.linalg.norm(columns, axis=-1), 1, atol=1e-5)
    turned = rot6d_to_matrix(torch.from_numpy(result.actions[:, right + 3 : right + 9]))
    steps = geodesic_angle(turned[:-1], turned[1:])
    np.testing.assert_allclose(steps, 0.25, atol=1e-3)


def test_conditions_leave_out_what_is_no_change(so101_set):
    names = [condition.name for condition in conditions_of(so101_set)]
    assert names == [
        "30 frames at 30 Hz",
        "15 frames at 30 Hz",
        "50 frames at 30 Hz",
        "10 frames at 10 Hz, resampled",
        "50 frames at 50 Hz, resampled",
    ]
    slow = Condition(100, 0.5)
    assert possible(so101_set, [slow]) == []


def test_windows_under_a_condition_keep_the_scored_space_of_training(so101_set):
    native = cut(so101_set, Condition(30, 30.0))
    np.testing.assert_array_equal(native.batch.scored, so101_set.batch.scored)
    fast = cut(so101_set, Condition(50, 50.0, resampled=True))
    assert fast.batch.scored.shape[1:] == (50, 6) and fast.fps == 50 and fast.space is native.space
    ends = [data.batch.relative[0, -1] for data in (native, fast)]
    travelled = np.abs(so101_set.batch.relative[:, -1]).max()
    assert np.abs(ends[0] - ends[1]).max() < 0.1 * travelled


def rows_of(name: str, mse: dict[int, float]) -> list[Row]:
    rows = []
    for tokens, error in mse.items():
        row = Row(f"{name}@{tokens}", name, "rvq-prefix")
        row.metrics |= {"tokens_mean": tokens, "bits_mean": 10.0 * tokens, "mse": error}
        row.point = RatePoint(np.full(8, 10.0 * tokens), np.full(8, error), np.ones(8))
        rows.append(row)
    rows[-1].name = name
    return rows


@pytest.mark.parametrize(("episodes", "interval"), [(2, ""), (4, " [1.22, 1.22]")])
def test_a_joint_tokenizer_is_held_against_a_single_one_at_equal_bits_and_tokens(
    episodes, interval
):
    single = rows_of("single", {2: 0.1, 4: 0.01, 6: 0.001})
    both = rows_of("both", {2: 0.12, 4: 0.015, 6: 0.001, 8: 1e-4})
    both[-1].metrics["score"], single[-1].metrics["score"] = 0.6, 0.5
    bootstrap = EpisodeBootstrap(np.arange(8) % episodes)
    case = Case("case", "horizon", 8, single + both, ["both", "single"], bootstrap)
    result = joint.compare(case, "both", "single")
    assert result.error.value == pytest.approx((1.2 * 1.5 * 1.0) ** (1 / 3))
    assert result.tokens.tolist() == [2, 4, 6]
    np.testing.assert_allclose(result.ratios, [1.2, 1.5, 1.0])
    assert result.to_dict()["score_ratio"] == pytest.approx(1.2)
    assert text.joint_cells(result)[2:] == [f"1.22{interval}", "0.60", "0.50", "1.20"]
    assert ("mse_ratio_ci" in result.to_dict()) == bool(interval)


@pytest.fixture(scope="module")
def known(so101_tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "mine"
    so101_tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr("analysis.evalset.MAX_WINDOWS", 500)
    monkeypatch.setattr("analysis.transfer.study.FAST_SCALES", (2.5, 5, 10))
    monkeypatch.setattr("analysis.transfer.case.prefixes", lambda length: [2, 4, 8, length])


@pytest.mark.usefixtures("small")
def test_a_known_robot_at_other_horizons_and_rates(so101, known, tmp_path):
    results = study.compute([known], [so101], known, [known], quiet=True)
    path = study.write(results, tmp_path)
    cases = json.loads(path.read_text())["so101_pick_tape"]["cases"]
    native = cases["30 frames at 30 Hz"]["rows"]
    faster = cases["50 frames at 50 Hz, resampled"]["rows"]
    assert native["mine"]["tokens_mean"] == faster["mine"]["tokens_mean"] == 12
    assert faster["mine"]["mse"] == pytest.approx(native["mine"]["mse"], rel=0.5)
    assert faster["mine"]["decode_failures"] == 0
    longer = cases["50 frames at 30 Hz"]["rows"]
    assert longer["mine"]["mse"] > native["mine"]["mse"]
    drawn = page.write(results, tmp_path).read_text()
    assert (
        "10 frames at 10 Hz, resampled" in drawn and "nan" not in drawn.lower().split("<main>")[1]
    )


@pytest.mark.usefixtures("small")
def test_one_tokenizer_beside_itself_is_equal(so101, known):
    (result,) = study.compute([], [so101], known, [known_copy(known)], quiet=True)
    (comparison,) = result.joints
    assert comparison.error.value == pytest.approx(1)
    np.testing.assert_allclose(comparison.ratios, 1)


def known_copy(path):
    import shutil

    return shutil.copytree(path, path.parent / "alone", dirs_exist_ok=True)


@pytest.mark.usefixtures("small")
def test_a_robot_with_too_many_channels_is_said_to_be_left_out(so101, shared_data, known):
    cr5 = shared_data / "cr5_banana"
    results = study.compute([known], [so101, cr5], quiet=True)
    assert results[1].missing == {"mine": results[1].missing["mine"]}
    assert "has 7 channels, but this tokenizer takes at most 6" in results[1].missing["mine"]
    assert "has 7 channels" in text.render(results)


@pytest.mark.usefixtures("small")
def test_a_robot_that_fits_is_held_against_fasts_fitted_here_and_elsewhere(
    so101_set, so101_tokenizer
):
    (entry,) = so101_tokenizer.embodiments.values()
    stranger = replace(so101_tokenizer, embodiments={"other": entry}, metadata={})
    result = study.Transfer(so101_set)
    # Its own robot has half the channels, so that FAST spells other strings there.
    half = replace(so101_set.space, middle=so101_set.space.middle[:3])
    other = replace(
        so101_set,
        name="elsewhere",
        embodiment="other",
        training=so101_set.training[:500, :, :3],
        space=half,
    )
    loaded, fasts = [LoadedTokenizer("mine", "rvq", stranger)], study._fasts(so101_set)
    study._add_robots(result, loaded, fasts, [so101_set, other])
    here, elsewhere = result.cases
    assert {here.kind, elsewhere.kind} == {"robot"}
    assert here.name == "mine, robot added; FAST fitted on the robot"
    assert elsewhere.name == "mine, robot added; FAST fitted on elsewhere"
    assert here.row("mine").metrics["mse"] == elsewhere.row("mine").metrics["mse"] < 0.01
    alone = "mine, statistics alone"
    assert here.families == elsewhere.families == ["mine", alone]
    assert here.row("mine").metrics["mse"] < here.row(alone).metrics["mse"] < 0.1
    assert alone in text.render([result]) and alone in page.render([result])
    tokens = [case.row("fast-total@5").metrics["tokens_mean"] for case in (here, elsewhere)]
    assert tokens[0] < tokens[1]
    assert here.row("fast-total@5").metrics["mse"] == elsewhere.row("fast-total@5").metrics["mse"]


def test_what_is_missing_is_said(so101, known, tmp_path, capsys):
    data, out = ["--data", str(so101)], ["--out", str(tmp_path / "out")]
    assert main(["transfer", "--joint", str(known), *data, *out]) == 1
    assert "--joint and --singles go together" in capsys.readouterr().err
    assert main(["transfer", *data, *out]) == 1
    assert "Nothing to measure" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
