"""The comparison end to end on real recordings, with a tokenizer that needs no training."""

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import compare, report, stability, table, timing
from analysis.adaptive import AdaptiveCodec, tolerances
from analysis.benchmark.race import PASSES, WARM_UP
from analysis.cli import main
from analysis.codecs import BinsCodec, FastCodec
from analysis.compare import Comparison, DatasetComparison
from analysis.evalset import load_eval_sets
from analysis.group_errors import compute as group_error
from analysis.group_errors import groups_of
from analysis.loading import LoadedTokenizer, splits_of
from analysis.rvq_codec import RvqCodec, artefact_name, closed_form_of, prefixes
from rvq_action import ToleranceWarning
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.split import Split, split_episodes

SCORING = {
    *("tokens_mean", "tokens_p99", "bits_mean", "mse", "l1", "p99_abs", "max_abs"),
    *("decode_failures", "random_sequence_failures", "out_of_range", "utilisation", "perplexity"),
    *("token_overlap", "noise_wer", "flip_mse", "jerk_ratio", "dct_l1", "encode_us", "decode_us"),
}
KINDS = {"fast", "bins", "yardstick", "rvq", "rvq-prefix", "rvq-adaptive", "closed-form"}


@pytest.fixture(scope="module")
def comparison(so101, so101_tokenizer, tmp_path_factory) -> Comparison:
    run = tmp_path_factory.mktemp("runs") / "mine"
    so101_tokenizer.save_pretrained(run / "tokenizer")
    so101_tokenizer.save_pretrained(run / "closed_form")
    return compare.compute([run / "tokenizer"], [so101], quiet=True, fast_total=False)


def test_metrics_follow_the_format(comparison, tmp_path):
    path = compare.write_metrics(comparison, tmp_path / "out")
    rows = json.loads(path.read_text())["so101_pick_tape"]
    assert [f"fast@{s}" for s in ("1.25", "2.5", "5", "10", "20")] == list(rows)[:5]
    assert {"bins256", "mine", "mine@1", "mine@11", "mine-closed-form@3"} <= set(rows)
    assert any(re.fullmatch(r"gaussian@\d+", name) for name in rows)
    assert {row["kind"] for row in rows.values()} == KINDS
    for name in ("fast@10", "bins256", "mine", "mine-closed-form"):
        assert set(rows[name]) >= SCORING
    for row in rows.values():
        for metric in (m for m in row if m.endswith("_ci")):
            low, high = row[metric]
            value = row[metric.removesuffix("_ci")]
            assert low <= value * 1.0001 and value <= high * 1.0001


def test_the_figures_mean_what_they_say(comparison):
    rows = comparison.metrics()["so101_pick_tape"]
    assert rows["mine@5"]["bits_mean"] == 40 and rows["mine"]["tokens_mean"] == 12
    assert rows["bins256"]["bits_mean"] == 8 * 30 * 6
    assert rows["bins256"]["mse"] == pytest.approx((3 / 256) ** 2 / 12, rel=0.1)
    assert rows["mine"]["decode_failures"] == rows["mine"]["random_sequence_failures"] == 0
    assert rows["fast@10"]["random_sequence_failures"] > 0.9
    assert rows["mine"]["mse"] < rows["mine@8"]["mse"] < rows["mine@4"]["mse"]
    assert rows["mine"]["prefix_rise"] < 0.05 and rows["mine"]["out_of_range"] == 0
    mse = np.array([*(rows[f"mine@{k}"]["mse"] for k in range(1, 12)), rows["mine"]["mse"]])
    assert rows["mine"]["prefix_rise"] == max(0, *(mse[1:] / mse[:-1] - 1))
    assert 0 < rows["mine"]["score_adaptive"] == rows["mine-closed-form"]["score_adaptive"]
    assert all("score" not in row for name, row in rows.items() if "@" in name or "~" in name)
    assert rows["mine"]["flip_mse"] > rows["mine"]["mse"]
    assert rows["mine"]["flip_mse_level_0"] > rows["mine"]["flip_mse_level_1"]
    assert rows["mine"]["flip_ratio_level_0"] > rows["mine"]["flip_ratio_level_2"] > 1
    assert rows["fast@5"]["noise_wer_0.004"] < rows["fast@5"]["noise_wer_0.008"]


def test_rows_are_held_against_the_yardstick_at_their_own_bits(comparison):
    rows = comparison.metrics()["so101_pick_tape"]
    marks = {n: float(n.split("@")[1]) for n in rows if n.startswith("gaussian@")}
    own = [n for n in rows if "yardstick_ratio" in rows[n]]
    assert {"mine", "mine@1", "mine@8", "fast@10"} <= set(own) and "bins256" not in own
    for name in own:
        said = rows[name]["mse"] / rows[name]["yardstick_ratio"]
        coarser = [rows[m]["mse"] for m, bits in marks.items() if bits <= rows[name]["bits_mean"]]
        finer = [rows[m]["mse"] for m, bits in marks.items() if bits >= rows[name]["bits_mean"]]
        assert max(finer, default=0.0) <= said * 1.0001
        assert said <= min(coarser, default=1.0) * 1.0001


def test_tokens_and_stability_are_held_against_fast(comparison):
    rows = comparison.metrics()["so101_pick_tape"]
    ours = {name: row for name, row in rows.items() if row["kind"] in ("rvq", "rvq-prefix")}
    ratios = [row["token_ratio"] for row in ours.values() if "token_ratio" in row]
    assert len(ratios) >= 3 and rows["mine"]["token_ratio_max"] == max(ratios)
    assert not any("token_ratio" in rows[f"fast@{scale}"] for scale in ("5", "10"))
    bits = np.array([rows[f"fast@{s}"]["bits_mean"] for s in ("1.25", "2.5", "5", "10", "20")])
    for row in ours.values():
        away = np.abs(row["bits_mean"] / bits - 1).min()
        assert ("noise_wer_ratio" in row) == (away <= 0.15)


def test_fast_reproduces_its_known_rate_and_distortion_on_real_data(comparison):
    rows = comparison.metrics()["so101_pick_tape"]
    known = {"fast@2.5": (76, 1.6e-3), "fast@5": (115, 5.6e-4), "fast@10": (179, 1.9e-4)}
    for name, (bits, mse) in known.items():
        assert rows[name]["bits_mean"] == pytest.approx(bits, rel=0.05)
        assert rows[name]["mse"] == pytest.approx(mse, rel=0.05)
    assert rows["fast@1.25"]["bits_mean"] > rows["fast@2.5"]["bits_mean"]


def test_the_page_is_self_contained_and_names_its_subject(comparison, tmp_path):
    text = report.write(comparison, tmp_path).read_text()
    assert "so101_pick_tape" in text and "mine-closed-form" in text
    assert "held-out episodes 2-4, 11, 23-24, 27, 34" in text and "torch" in text
    assert text.count("<svg") >= 7 and "var(--series-0)" in text
    assert not re.search(r"(src|href)=\"http|#0102|NaN|\bnan\b", text.split("<main>")[1])
    assert len(text) < 3_000_000


def without_intervals(result: DatasetComparison) -> DatasetComparison:
    """As with fewer than four held-out episodes."""
    return replace(result, rows=[replace(row, intervals={}) for row in result.rows])


def test_pages_and_tables_tell_figures_without_intervals(comparison):
    (result,) = comparison.datasets
    bare = Comparison([without_intervals(result)], "a machine")
    assert not any(name.endswith("_ci") for row in bare.metrics()[result.data.name].values()
                   for name in row)  # fmt: skip
    for text in (report.render(bare).split("<main>")[1], table.render(bare)):
        assert f"{result.row('mine').metrics['score_adaptive']:.2f}" in text
        assert not re.search(r"\bnan\b|\[\]|<small>", text, re.IGNORECASE)


@pytest.mark.parametrize(
    ("fails", "total", "tile"),
    [
        (0.01, 2.0, '<b class="good">0.50</b><span>mine<br>score, 0.40 – 0.60</span>'),
        (
            0.02,
            2.0,
            '"bad">2.00</b><span>mine<br>score against the FAST that always decodes</span>',
        ),
        (
            0.02,
            None,
            "<b>0.50</b><span>mine<br>score against a FAST that fails on 2 %, 0.40 – 0.60",
        ),
    ],
)
def test_a_fast_that_fails_gives_no_green_score(comparison, fails, total, tile):
    (result,) = comparison.datasets
    rows = [replace(row, metrics=dict(row.metrics), intervals=dict(row.intervals))
            for row in result.rows]  # fmt: skip
    changed = replace(result, rows=rows)
    changed.row("fast@20").metrics["decode_failures"] = fails
    mine = changed.row("mine")
    mine.metrics["score"], mine.intervals["score"] = 0.5, (0.4, 0.6)
    if total is not None:
        mine.metrics["score_total"] = total
    assert tile in report.render(Comparison([changed], "a machine"))


def test_the_number_of_held_out_episodes_stands_beside_intervals(comparison):
    assert comparison.metrics()["so101_pick_tape"]["mine"]["episodes"] == 8
    for text in (report.render(comparison), table.render(comparison)):
        assert "Intervals resample only 8 held-out episodes and are too narrow" in text
    assert ">episodes</th>" in report.render(comparison)


def test_the_terminal_table_shows_scores(comparison):
    text = table.render(comparison)
    assert re.search(r"^mine .* \[.*\]$", text, re.MULTILINE)
    assert "gaussian" not in text and "fast@10" in text


def test_unknown_embodiments_are_named_and_left_out(
    so101, shared_data, so101_tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setattr("analysis.evalset.MAX_WINDOWS", 100)
    so101_tokenizer.save_pretrained(tmp_path / "other")
    sets = [shared_data / "droid_franka", so101]
    result = compare.compute([tmp_path / "other"], sets, quiet=True, fast_total=False)
    assert result.datasets[0].missing == {"other": "knows so101, not droid_franka"}
    assert not result.datasets[1].missing
    note = "Not shown here: other (knows so101, not droid_franka)"
    assert note in report.render(result) and note in table.render(result)


def test_nothing_of_ours_to_score_is_said_before_the_work(
    shared_data, so101_tokenizer, tmp_path, capsys
):
    so101_tokenizer.save_pretrained(tmp_path / "other")
    words = ["--tokenizers", str(tmp_path / "other"), "--data", str(shared_data / "droid_franka")]
    assert main(["compare", *words, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "know the embodiments ['so101'], but the datasets are of ['droid_franka']" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("anchored", "words"),
    [
        (["x", "y"], "(broad line), relative to the robot's state before the chunk."),
        (["y"], "(broad line), y relative to the robot's state before the chunk."),
        ([], "(broad line)."),
    ],
)
def test_the_caption_says_what_is_relative(comparison, anchored, words):
    (result,) = comparison.datasets
    assert result.trajectories.anchored == result.trajectories.channels
    drawn = replace(result.trajectories, anchored=anchored, channels=["x", "y"])
    assert words in report.render(Comparison([replace(result, trajectories=drawn)], "a machine"))


def test_the_recorded_split_is_used_and_must_agree(so101, so101_tokenizer):
    split = Split((0, 1, 2), (5, 6), seed=4)
    (data,) = load_eval_sets([so101], [], None, {"so101_pick_tape": split})
    assert set(data.episode_of) == {5, 6} and data.split_source == "recorded in the tokenizer"
    other = replace(so101_tokenizer, metadata={"split": {"so101_pick_tape": split.to_dict()}})
    entries = [LoadedTokenizer("a", "rvq", so101_tokenizer), LoadedTokenizer("b", "rvq", other)]
    with pytest.raises(ValueError, match="held out other episodes"):
        splits_of(entries)
    with pytest.raises(ValueError, match="the dataset has 40 episodes"):
        load_eval_sets([so101], [], None, {"so101_pick_tape": Split((0,), (40,), 0)})


def test_data_to_fit_on_may_be_another_folder(so101, tmp_path):
    copy = tmp_path / "elsewhere"
    copy.symlink_to(so101)
    (same,) = load_eval_sets([copy], [so101], None, {})
    assert same.split.held_out == split_episodes(40).held_out
    with pytest.raises(ValueError, match="give none, one, or one each"):
        load_eval_sets([so101], [so101] * 3, None, {})


def test_every_window_of_the_held_out_episodes_is_scored(so101, so101_set):
    episodes = RobotDataset.open(so101).episodes
    assert len(so101_set.batch) == sum(len(episodes[i]) - 29 for i in so101_set.split.held_out)
    assert np.abs(so101_set.batch.scored).max() <= 1.5
    spread = np.quantile(so101_set.training, [0.01, 0.99], axis=(0, 1))
    np.testing.assert_allclose(np.abs(spread), 1, atol=0.35)


def test_large_sets_are_thinned_out_evenly(so101, monkeypatch):
    monkeypatch.setattr("analysis.evalset.MAX_VALUES", 100 * 30 * 6)
    (data,) = load_eval_sets([so101], [], None, {})
    assert len(data.batch) == len(data.training) == 100
    assert set(data.episode_of) == set(data.split.held_out)
    pairs = stability.disturb(data)
    assert len(pairs.pairs[0]) == 512 and len(pairs.indices) == 100


def test_masked_channels_are_not_scored_and_rotations_are_compared_as_angles(shared_data):
    (data,) = load_eval_sets([shared_data / "droid_franka"], [], None, {})
    assert data.layout.width == 26 and data.batch.scored.shape[1:] == (15, 10)
    assert [(g.name, g.unit) for g in groups_of(data)] == [
        ("right_arm/position", "mm"),
        ("right_arm/rotation", "deg"),
        ("right_arm/gripper", "gripper"),
    ]
    position, rotation, _ = groups_of(data)
    shifted = data.batch.relative.copy()
    shifted[..., :3] += 0.002
    np.testing.assert_allclose(group_error(position, shifted, data.batch.relative), 2, rtol=1e-5)
    assert group_error(rotation, shifted, data.batch.relative).max() < 0.01


def test_codecs_agree_with_themselves(so101_set, so101_tokenizer):
    batch = so101_set.batch.take(slice(0, 40))
    rvq = RvqCodec(so101_tokenizer, "mine", "rvq", so101_set)
    for codec in (FastCodec(so101_set, 20), BinsCodec(so101_set), rvq):
        tokens = codec.encode(batch)
        decoded = codec.decode(tokens, batch)
        assert not decoded.failed.any()
        assert ((decoded.scored - batch.scored) ** 2).mean() < 0.03
        assert (tokens < codec.sizes(tokens.shape[1])).all()
        drawn = stability.random_tokens(codec, tokens)
        assert ((drawn == -1) == (tokens == -1)).all() and (drawn != tokens).any()


def test_whatever_is_decoded_is_clipped_alike_before_it_is_scored(so101_set):
    """Coarse scales overshoot; what leaves the scored space by that costs no more than ours."""
    reaches = np.abs(so101_set.batch.scored).max(axis=(1, 2)) == 1.5
    batch = so101_set.batch.take(np.flatnonzero(reaches))
    codec = FastCodec(so101_set, 1.25)
    decoded = codec.decode(codec.encode(batch), batch)
    meant = so101_set.space.transform(decoded.relative)
    assert np.abs(meant).max() > 1.5
    np.testing.assert_allclose(decoded.scored, np.clip(meant, -1.5, 1.5), atol=1e-9)


def test_times_are_taken_side_by_side(so101_set, monkeypatch):
    """A machine that is busy for a while slows all tokenizers: in every pass each has its turn."""
    turns = []

    class Heard(BinsCodec):
        def encode(self, batch):
            turns.append(self.name)
            return super().encode(batch)

    codecs = [Heard(so101_set, bins) for bins in (2, 4, 8)]
    found = timing.measure(codecs, so101_set)
    assert turns[:: timing.CHUNKS] == ["bins2", "bins4", "bins8"] * (PASSES + WARM_UP)
    assert [set(times) for times in found] == [{"encode_us", "decode_us"}] * 3


@pytest.mark.parametrize("kind", ["so101_tokenizer", "so101_networked"])
def test_adaptive_length_is_what_the_tokenizer_emits_and_an_end_token(so101_set, kind, request):
    tokenizer = request.getfixturevalue(kind)
    batch = so101_set.batch.take(slice(0, 300, 3))
    base = RvqCodec(tokenizer, "mine", "rvq", so101_set)
    best = base.best(batch)
    assert set(best.ladder.flat) == {0, int(kind == "so101_networked")}
    tolerance = float(np.median(best.errors[:, 8]))
    codec = AdaptiveCodec(base, tolerance)
    tokens = codec.encode(batch)
    ends = tokens == base.sizes(base.length)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ToleranceWarning)
        codes = tokenizer.encode(
            batch.actions, batch.anchor, "so101", 30.0, mask=batch.mask, tolerance=tolerance
        )
    order = np.array(tokenizer.token_order)
    assert (np.where(ends, -1, tokens) == codes.numpy()[:, order[:, 0], order[:, 1]]).all()
    shortened = (tokens == -1).any(1) | ends.any(1)
    assert shortened.sum() > 0 and (ends.sum(1) == shortened).all()
    decoded = tokenizer.decode(codes, 30, batch.anchor, "so101", 30.0)
    relative = so101_set.to_relative(decoded, batch)
    np.testing.assert_allclose(codec.decode(tokens, batch).relative, relative, atol=1e-6)
    assert codec.name == f"mine~{tolerance:g}" and codec.kind == "rvq-adaptive"


def test_rows_of_tolerances_say_how_many_chunks_keep_them(comparison, so101_set, so101_tokenizer):
    """Where even all tokens do not, the chunk is emitted anyway."""
    rows = comparison.metrics()["so101_pick_tape"]
    adaptive = {name: row for name, row in rows.items() if name.startswith("mine~")}
    batch, base = so101_set.batch, RvqCodec(so101_tokenizer, "mine", "rvq", so101_set)
    best, order = base.best(batch), np.array(so101_tokenizer.token_order)
    for name, row in adaptive.items():
        tolerance = float(name.split("~")[1])
        codec = AdaptiveCodec(base, tolerance)
        tokens, codes = codec.cut(best), np.full((len(batch), 4, 3), -1)
        codes[:, order[:, 0], order[:, 1]] = np.where(tokens == 256, -1, tokens)
        kept = so101_tokenizer.fidelity(
            batch.actions, torch.from_numpy(codes), batch.anchor, "so101", 30.0, mask=batch.mask
        )
        scored = np.square(codec.decode(tokens, batch).scored - batch.scored).mean(axis=(1, 2))
        share = (kept.mse <= tolerance).float().mean().item()
        np.testing.assert_allclose(kept.scored, scored, rtol=0.05, atol=1e-6)
        assert row["within_tolerance"] == pytest.approx(share, abs=1e-3)
        assert row["within_tolerance_scored"] == pytest.approx((scored <= tolerance).mean())
        assert {"within_tolerance_ci", "within_tolerance_scored_ci"} <= set(row)
    shares = [row["within_tolerance"] for row in adaptive.values()]
    assert shares == sorted(shares) and shares[0] < 0.9 and shares[-1] > 0.99
    assert all(("within_tolerance" in row) == ("~" in name) for name, row in rows.items())


def test_tolerances_are_round_and_span_the_lengths():
    errors = np.geomspace(1, 1e-4, 51)[None].repeat(8, axis=0)
    assert tolerances(errors) == [2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]


def test_noise_moves_the_scored_values_by_sigma(so101_set, so101_tokenizer):
    batch = so101_set.batch.take(slice(0, 200))
    noisy = so101_set.noisy(batch, 0.006)
    assert (noisy.scored - batch.scored).std() == pytest.approx(0.006, rel=0.05)
    again = so101_set.space.transform(so101_set.to_relative(noisy.actions, batch))
    difference = again - so101_set.space.transform(batch.relative)
    assert difference.std() == pytest.approx(0.006, rel=0.05)


def test_prefixes_are_all_or_spread_evenly():
    assert prefixes(5) == [1, 2, 3, 4, 5]
    many = prefixes(150)
    assert many[0] == 1 and many[-1] == 150 and 30 <= len(many) <= 36


def test_artefacts_are_named_after_their_run_and_closed_forms_found(tmp_path):
    for folder in ("run/tokenizer", "run/closed_form"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text("{}")
    assert artefact_name(tmp_path / "run" / "tokenizer") == "run"
    assert artefact_name(tmp_path / "run") == "run"
    assert closed_form_of(tmp_path / "run" / "tokenizer") == tmp_path / "run" / "closed_form"
    assert closed_form_of(Path(tmp_path)) is None


def test_the_command_names_what_is_wrong(tmp_path, capsys):
    status = main(["compare", "--data", str(tmp_path / "absent"), "--out", str(tmp_path / "out")])
    assert status == 1
    assert "absent" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
