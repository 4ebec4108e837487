"""AR-modelability against sequences whose cost is known, and its rows on real recordings."""

import numpy as np
import pytest
import torch

from analysis import autoregression, compare, rate_distortion, report
from analysis.autoregression import Sequences
from analysis.modelability import slot_major

IDS = 8


def sequences(tokens: torch.Tensor, anchor: torch.Tensor | None = None) -> Sequences:
    return Sequences(tokens, torch.zeros(len(tokens), 1) if anchor is None else anchor)


def cost(tokens: torch.Tensor, anchor: torch.Tensor | None = None, steps: int = 150) -> np.ndarray:
    """[L] mean bits on the second half, by a model trained on the first."""
    length = tokens.shape[1]
    given, half = sequences(tokens, anchor), len(tokens) // 2
    train, test = given.take(torch.arange(half)), given.take(torch.arange(half, len(tokens)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoregression, "STEPS", steps)
        levels, sizes = np.zeros(length, int), np.full(length, IDS)
        model = autoregression.fit(train, test, levels, sizes)
    return autoregression.bits(model, test).mean(0)


@pytest.fixture
def drawn() -> torch.Tensor:
    return torch.randint(0, IDS, (1024, 4), generator=torch.Generator().manual_seed(0))


def test_random_tokens_cost_all_their_bits_and_foreseeable_ones_none(drawn):
    drawn[:, 1] = drawn[:, 0]
    drawn[:, 3] = 5
    np.testing.assert_allclose(cost(drawn), [3, 0, 3, 0], atol=0.15)


def test_what_the_anchor_tells_is_not_paid_for(drawn):
    anchor = torch.nn.functional.one_hot(drawn[:, 0], IDS).float()
    bits = cost(drawn, anchor)
    assert bits[0] < 0.15 and (bits[1:] > 2.9).all()


def test_absent_tokens_cost_nothing_whatever_they_are_padded_to(drawn):
    drawn[::2, 2:] = -1
    bits = cost(drawn, steps=60)
    assert bits[2] == pytest.approx(bits[0] / 2, rel=0.1)
    levels, sizes = np.zeros(4, int), np.full(4, IDS)
    model = autoregression.NextToken(levels, sizes, 1)
    short = sequences(drawn[::2])
    alone = autoregression.bits(model, short)
    among = autoregression.bits(model, sequences(drawn))[::2]
    np.testing.assert_allclose(alone, among, atol=1e-5)
    assert (alone[:, 2:] == 0).all()


def test_no_token_knows_a_later_one(drawn):
    model = autoregression.NextToken(np.array([0, 0, 1, 1]), np.full(4, IDS), 1)
    torch.nn.init.normal_(model.leave)
    other = drawn.clone()
    other[:, 2] = (other[:, 2] + 1) % IDS
    before, after = (autoregression.bits(model, sequences(t)) for t in (drawn, other))
    np.testing.assert_allclose(before[:, :2], after[:, :2], atol=1e-5)
    assert np.abs(before[:, 3] - after[:, 3]).max() > 0.1


def test_ids_of_one_level_do_not_compete_with_those_of_another(drawn):
    levels, sizes = np.array([0, 0, 1, 1]), np.full(4, IDS)
    bits = autoregression.bits(autoregression.NextToken(levels, sizes, 1), sequences(drawn))
    np.testing.assert_allclose(bits, 3, atol=1e-5)


def test_the_same_seed_gives_the_same_figure(drawn):
    assert (cost(drawn, steps=10) == cost(drawn, steps=10)).all()


def test_slot_major_order_lists_all_levels_of_a_slot_together():
    assert slot_major(np.array([0, 0, 0, 1, 1, 1])).tolist() == [0, 3, 1, 4, 2, 5]


@pytest.fixture(scope="module")
def modelled(so101, so101_tokenizer, tmp_path_factory) -> compare.Comparison:
    """One tokenizer and FAST on few windows, with models trained for a few steps."""
    path = tmp_path_factory.mktemp("runs") / "mine"
    so101_tokenizer.save_pretrained(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoregression, "STEPS", 50)
        patch.setattr(autoregression, "BATCH", 16)
        patch.setattr("analysis.modelability.TRAINING_WINDOWS", 400)
        patch.setattr("analysis.modelability.LONGEST", 120)
        patch.setattr("analysis.compare.FAST_SCALES", (2.5, 5, 10))
        patch.setattr("analysis.evalset.MAX_WINDOWS", 400)
        return compare.compute([path], [so101], ar=True, quiet=True)


def test_whole_tokenizers_prefixes_and_some_tolerances_have_bits(modelled):
    rows = modelled.metrics()["so101_pick_tape"]
    growing = [rows[f"mine@{k}"]["ar_bits"] for k in range(1, 12)] + [rows["mine"]["ar_bits"]]
    assert (np.diff(growing) > 0).all()
    assert growing[-1] < 1.1 * rows["mine"]["bits_mean"]
    assert rows["mine"]["ar_bits_ci"][0] <= growing[-1] <= rows["mine"]["ar_bits_ci"][1]
    assert rows["mine"]["ar_bits_slot_major"] != growing[-1]
    assert sum("ar_bits" in row for name, row in rows.items() if "~" in name) == 3
    assert {"ar_bits"} <= set(rows["fast@5"]) and "ar_ratio" not in rows["fast@5"]


def test_bits_are_held_against_fast_at_equal_error(modelled):
    rows = modelled.metrics()["so101_pick_tape"]
    inside = [row for name, row in rows.items() if "@" in name and "ar_ratio_total" in row]
    assert len(inside) >= 2 and rows["mine"]["ar_score_total_points"] >= len(inside)
    errors = [rows[f"fast-total@{scale}"]["mse"] for scale in ("2.5", "5", "10")]
    assert all(errors[2] <= row["mse"] <= errors[0] for row in inside)
    low, high = rows["mine"]["ar_score_total_ci"]
    assert low <= rows["mine"]["ar_score_total"] <= high


def test_sequences_that_are_too_long_are_named_and_the_figure_is_drawn(modelled):
    assert "bins256" not in modelled.datasets[0].families
    assert "ar_bits" not in modelled.metrics()["so101_pick_tape"]["bins256"]
    page = report.render(modelled)
    assert "exceed 256 tokens: bins256." in page
    assert "AR-modelability" in page and "MSE over modelled bits" in page


def test_the_figure_of_modelled_bits_shows_modelled_bits(modelled):
    rows = modelled.datasets[0].rows
    drawn = {curve.name: curve for curve in rate_distortion.compute(rows, "ar_bits")}
    own = sorted(row.metrics["ar_bits"] for row in rows if row.family == "mine")
    np.testing.assert_allclose(drawn["mine"].bits, own)
    assert drawn["fast"].bits.max() < max(r.metrics["bits_mean"] for r in rows if r.kind == "fast")
