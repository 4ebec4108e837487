"""Means, spreads and differences of made-up figures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.ablation import comparison, figures, markdown, page
from analysis.ablation.sums import Measured, per_episode
from analysis.ablation.trade import apart
from tests.analysis.ablation.conftest import BY, EPISODES, measured

EASE = np.linspace(0.1, 0.5, len(EPISODES))
"""Some episodes are easier than others, for every recipe alike."""


@pytest.fixture
def ablation(row_of):
    """The full recipe finds .1 more than the plain one in every episode; three seeds each."""
    rows = []
    for seed, luck in enumerate((-0.05, 0.0, 0.05)):
        rows.append(row_of("full", seed, measured(EASE + 0.1 + luck, 2.0)))
        rows.append(row_of("plain_rvq", seed, measured(EASE + luck, 1.0)))
        rows.append(row_of("levels_1", seed, measured(EASE + luck, 1.5, tokens=2), levels=1))
    return comparison.compute(rows)


def test_figures_survive_the_row():
    one = measured(EASE, 0.123456789)
    other = Measured.from_dict(json.loads(json.dumps(one.to_dict())))
    np.testing.assert_array_equal(one.episodes, other.episodes)
    for name, ratio in one.ratios.items():
        np.testing.assert_allclose(ratio.of, other.ratios[name].of, rtol=1e-4)
    np.testing.assert_allclose(one.curve.mse, other.curve.mse, rtol=1e-4)
    assert (one.by, one.bits, one.candidates) == (other.by, other.bits, other.candidates)
    assert len(json.dumps(one.to_dict())) < 4000


def test_sums_are_of_each_episode():
    sums = per_episode(np.array([1.0, 2.0, 4.0]), np.array([5, 3, 5]), [3, 4, 5])
    assert sums.tolist() == [2.0, 0.0, 5.0]


def test_a_figure_is_the_mean_over_seeds_beside_its_spread(ablation):
    row = ablation.rows[0]
    assert row.name == "full" and row.metrics["seeds"] == 3
    assert row.metrics["retrieval_r1"] == pytest.approx(0.4, rel=1e-3)
    assert row.metrics["retrieval_r1_spread"] == pytest.approx(0.05, rel=1e-3)
    low, high = row.intervals["retrieval_r1"]
    assert low < 0.37 and high > 0.43
    assert row.metrics["seconds"] == 101


def test_a_difference_is_paired_by_episode(ablation):
    """Episodes differ much more than the recipes do, but alike: the difference is sure."""
    row = ablation.rows[0]
    low, high = row.intervals["retrieval_r1_over_plain"]
    assert row.metrics["retrieval_r1_over_plain"] == pytest.approx(0.1, rel=1e-3)
    assert low == pytest.approx(0.1, rel=1e-3) and high == pytest.approx(0.1, rel=1e-3)
    assert "retrieval_r1_over_full" not in row.metrics
    plain = ablation.rows[1]
    assert plain.metrics["retrieval_r1_over_full"] == pytest.approx(-0.1, rel=1e-3)


def test_errors_are_compared_at_equal_bits(ablation):
    full, plain, short = ablation.rows
    assert full.metrics["mse_times_plain"] == pytest.approx(2.0, rel=1e-3)
    assert plain.metrics["mse_times_full"] == pytest.approx(0.5, rel=1e-3)
    # Two tokens against the first two of four.
    assert short.metrics["mse_times_plain"] == pytest.approx(1.5, rel=1e-3)
    assert short.metrics["mse"] == pytest.approx(0.15, rel=1e-3)


def test_without_bits_in_common_there_is_no_ratio(row_of):
    coarse = measured(EASE, 1.0, tokens=1)
    fine = measured(EASE, 1.0)
    late = Measured(**{**vars(fine), "curve": type(fine.curve)(
        fine.curve.bits + 20, fine.curve.squared_error, fine.curve.values
    )})  # fmt: skip
    found = comparison.compute([row_of("full", 0, coarse), row_of("plain_rvq", 0, late)])
    assert "mse_times_plain" not in found.rows[0].metrics


def test_one_seed_has_no_spread_and_an_unmeasured_row_is_said(row_of):
    found = comparison.compute([row_of("full", 0, measured(EASE, 1.0)), row_of("full", 1)])
    assert "retrieval_r1_spread" not in found.rows[0].metrics
    assert found.to_dict()["facts"]["missing"] == ["full with seed 1"]
    assert "Not measured: full with seed 1" in markdown.render([found])


def test_rows_that_were_not_measured_alike_are_refused(row_of):
    other = measured(EASE, 1.0, by={**BY, "features": "another"})
    rows = [row_of("full", 0, measured(EASE, 1.0)), row_of("full", 1, other)]
    with pytest.raises(ValueError, match="not measured alike"):
        comparison.compute(rows)
    with pytest.raises(ValueError, match="No row of arm was measured"):
        comparison.compute([row_of("full")])


def test_recipes_stand_in_one_order(row_of):
    names = ["zeta", "teacher_dino", "codebook_256", "plain_rvq", "no_dct", "full"]
    rows = [row_of(name, 0, measured(EASE, 1.0)) for name in names]
    found = [group.name for group in comparison.compute(rows).groups]
    assert found == ["full", "plain_rvq", "no_dct", "codebook_256", "teacher_dino", "zeta"]


def test_the_markdown_table_has_a_line_per_recipe(ablation):
    lines = markdown.render([ablation]).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 5 and len({line.count("|") for line in table}) == 1
    assert "0.400 ± 0.050" in table[2] and "+0.100 [+0.100, +0.100]" in table[2]


def test_few_held_out_episodes_are_said(ablation):
    assert "Intervals resample only 8 held-out episodes" in markdown.render([ablation])
    assert "Intervals resample only 8 held-out episodes" in page.render([ablation])


def test_a_codebook_that_came_out_smaller_is_said(row_of):
    asked = {"differs": {"closed_form.codebook_size": 4096}, "codebook_size": 2048}
    found = comparison.compute([row_of("codebook_4096", 0, measured(EASE, 1.0), **asked)])
    assert "codebook_size = 4096, 2048 came out" in markdown.render([found])


def test_the_page_shows_everything_and_loads_nothing(ablation):
    text = page.render([ablation])
    assert text.count("<svg") == 3 and "levels_1" in text
    assert "plain: 0.30, 1.3× as many" in text
    assert 'src="http' not in text and 'href="http' not in text


def test_a_page_of_one_recipe_leaves_out_what_needs_more(row_of):
    alone = comparison.compute([row_of("full", 0, measured(EASE, 1.0))])
    assert figures.trade_figure(alone) is None and figures.sizes_figure(alone) is None
    assert page.render([alone]).count("<svg") == 1


def test_names_keep_their_distance_and_their_order():
    wanted = np.array([0.5, 0.02, 0.51, 0.5, 0.99, 1.0])
    placed = apart(wanted, 0.05)
    assert (np.diff(placed[np.argsort(placed)]) > 0.0499).all()
    assert (np.argsort(placed, kind="stable") == np.argsort(wanted, kind="stable")).all()
    assert placed.max() <= 1 and abs(placed - wanted).max() < 0.11
