"""`rvq-analysis tokens`: pairs are compared as pairs, and only rows that may be."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis import cli
from analysis.tokens import paired
from analysis.tokens.study import compare
from vla.ablation.row import TokenRow, row_file

TASKS = ("reach-v3", "push-v3")


def row(arm: str, seed: int, solved: np.ndarray, right: float = 0.5, **settings) -> TokenRow:
    """One run with outcomes bool [tasks, starts]."""
    told = {
        "tokens": arm,
        "seed_everything": seed,
        "data": {"action_tokens": arm != "none", "seed": seed},
        "trainer": {"max_steps": 8},
        **settings,
    }
    letters = {
        t: "".join(map(str, marks.astype(int))) for t, marks in zip(TASKS, solved, strict=True)
    }
    asked = {"all": {"count": 8, "accuracy": right, "majority": 0.25}}
    shape = (0, 4, 64) if arm == "none" else (16, 4, 64)
    return TokenRow(arm, seed, "demos", told, *shape, 8, 1.0, letters, asked)


@pytest.fixture
def rows() -> list[TokenRow]:
    """Starts are easy or hard; the aligned arm solves one more of every eight than the plain."""
    found = []
    for seed in range(3):
        easy = np.random.default_rng(seed).random((2, 48)) < 0.5
        more = easy.copy()
        more[:, ::8] = True
        easy[:, ::8] = False
        found.append(row("plain_rvq", seed, easy))
        found.append(row("vision_aligned", seed, more, 0.75))
        found.append(row("none", seed, np.zeros((2, 48), bool)))
    return found


def test_pairs_are_compared_as_pairs(rows):
    study = compare(rows)
    assert [arm.name for arm in study.arms] == ["vision_aligned", "plain_rvq", "none"]
    aligned, plain, none = study.arms
    assert aligned.gains["plain_rvq"].value == pytest.approx(1 / 8)
    gain = aligned.gains["plain_rvq"]
    assert 0 < gain.low < 1 / 8 < gain.high
    assert aligned.success.low < plain.success.high, "by themselves they cannot be told apart"
    assert plain.gains["vision_aligned"].value == pytest.approx(-1 / 8)
    assert (
        none.success == (0, 0, 0)
        and none.tokens == 0
        and set(aligned.gains)
        == {
            "plain_rvq",
            "none",
        }
    )
    assert aligned.vqa == [0.75] * 3 and aligned.majority == 0.25
    assert aligned.by_task.keys() == set(TASKS) and study.starts == 48
    assert aligned.spread == pytest.approx(np.std(aligned.by_seed, ddof=1))


def test_seeds_that_differ_widen_the_interval():
    steady = np.random.default_rng(0).random((3, 2, 200)) < 0.5
    moody = np.stack([np.random.default_rng(1).random((2, 200)) < p for p in (0.1, 0.5, 0.9)])
    widths = [s.high - s.low for s in map(paired.share, (steady, moody))]
    assert 0.04 < widths[0] < 0.15 < widths[1]


def test_only_common_seeds_are_paired(rows):
    fewer = [r for r in rows if not (r.arm == "plain_rvq" and r.seed == 1)]
    study = compare(fewer)
    assert study.arms[1].seeds == [0, 2] and len(study.arms[0].by_seed) == 3
    assert study.arms[0].gains["plain_rvq"].value == pytest.approx(1 / 8)


def test_rows_that_differ_in_more_than_tokens_are_refused(rows):
    settings = {**rows[0].settings, "trainer": {"max_steps": 9}}
    with pytest.raises(ValueError, match=r"differ in more than their tokens \(trainer.max_steps"):
        compare([*rows, replace(rows[0], seed=7, settings=settings)])


def test_the_command_writes_table_figure_and_page(rows, tmp_path, capsys):
    for each in rows:
        each.save(row_file(tmp_path / "rows", each.dataset, each.arm, each.seed))
    words = ["tokens", "--rows", str(tmp_path / "rows"), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    table = (tmp_path / "out" / "table.md").read_text()
    assert table.strip() in capsys.readouterr().out
    assert "| vision_aligned | 16 of 64 | 3 |" in table and "+12.5 [" in table
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<svg" in page and "more than plain_rvq" in page
    told = json.loads((tmp_path / "out" / "tokens.json").read_text())["demos"]
    assert told["arms"][0]["by_seed"] == compare(rows).arms[0].by_seed


def test_no_rows_is_an_error(tmp_path, capsys):
    assert cli.main(["tokens", "--rows", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "has no rows. Train some: rvq-vla ablate" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
