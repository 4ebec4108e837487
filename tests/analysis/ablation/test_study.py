"""The command end to end, on two tiny runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.ablation import measure, study
from analysis.cli import main
from rvq_action import ActionTokenizer
from tests.tokenizer_training.conftest import TINY
from tests.tokenizer_training.features.conftest import write
from tokenizer_training.ablation.finish import finish
from tokenizer_training.ablation.jobs import Ended
from tokenizer_training.ablation.plan import plan
from tokenizer_training.ablation.recipes import choose
from tokenizer_training.ablation.row import AblationRow, load_rows
from tokenizer_training.ablation.run import Budget, Run
from tokenizer_training.cli import main as train
from tokenizer_training.fit import fit
from tokenizer_training.fit_cli import FitCLI

LENGTHS = (30, 24, 35, 28, 33, 26, 31, 29, 30, 27)
RECIPES = ("full", "plain_rvq")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A dataset, its features, two runs and their rows."""
    folder = tmp_path_factory.mktemp("ablation")
    data = write(folder / "stripes", LENGTHS)
    features = f"features --side 8 --components 6 --data.datasets {data} --out {folder / 'cache'}"
    assert train(features.split()) == 0
    recipes = choose(RECIPES, [str(folder / "cache")])
    runs = [Run(recipe, 0, data, Budget(str(TINY)), folder / "runs") for recipe in recipes]
    for planned in plan(runs, folder / "rows"):
        cli = FitCLI([*planned.run.words(), "--trainer.enable_progress_bar", "false"])
        fit(cli.run_settings(), cli.model, cli.datamodule, cli.trainer)
        finish(Ended(planned, 1.0, None), folder / "rows")
    return folder


@pytest.fixture
def place(trained, tmp_path) -> Path:
    """A copy to work on."""
    return Path(shutil.copytree(trained, tmp_path / "place"))


def words(place: Path, *extra: str) -> list[str]:
    given = ["--rows", f"{place}/rows", "--runs_dir", f"{place}/runs", "--out", f"{place}/out"]
    return ["ablation", *given, *extra]


def with_data(place: Path) -> list[str]:
    return words(place, "--features", f"{place}/cache", "--data", f"{place}/stripes")


def test_runs_are_measured_once_and_drawn_without_their_folders(place, monkeypatch, capsys):
    assert main(with_data(place)) == 0
    printed = capsys.readouterr().out
    assert "| `plain_rvq` | weights.commitment = 0.1 |" in printed
    assert "No intervals: they need at least 4 held-out episodes; here: 2." in printed
    result = json.loads((place / "out/ablation.json").read_text())["stripes"]
    assert set(result["rows"]) == set(RECIPES)
    for row in result["rows"].values():
        for metric in ("retrieval_r1", "retrieval_r1_first", "mse", "noise_wer_0.006"):
            assert metric in row and f"{metric}_ci" not in row
    split = ActionTokenizer.from_pretrained(place / "runs/stripes/full-seed0/tokenizer").metadata
    held_out = split["split"]["stripes"]["held_out"]
    assert result["facts"]["held_out_episodes"] == held_out
    assert (place / "out/table.md").read_text().count("\n| `") == 2
    page = (place / "out/index.html").read_text()
    assert "<svg" in page and "No intervals" in page and "nan" not in page.split("<main>")[1]

    def forbidden(*args):
        raise AssertionError("measured twice")

    monkeypatch.setattr(measure, "measure", forbidden)
    shutil.rmtree(place / "runs")
    assert main(with_data(place)) == 0
    shutil.rmtree(place / "out")
    assert main(words(place)) == 0
    assert json.loads((place / "out/ablation.json").read_text())["stripes"] == result


def test_with_other_galleries_rows_are_measured_again(place):
    assert main(with_data(place)) == 0
    assert main([*with_data(place), "--seeds", "1"]) == 0
    row = AblationRow.load(place / "rows/stripes/full-seed0.json")
    assert row.measured is not None and row.measured["by"]["galleries"] == 1


def test_a_run_that_is_gone_or_another_is_named(place, capsys):
    run = place / "runs/stripes/full-seed0"
    metadata = run / "tokenizer/metadata.json"
    changed = json.loads(metadata.read_text()) | {"steps": 4711}
    metadata.write_text(json.dumps(changed))
    assert main(with_data(place)) == 1
    assert "holds another run than the row of full with seed 0" in capsys.readouterr().err
    (run / "COMPLETE").unlink()
    assert main(with_data(place)) == 1
    assert "full-seed0 is to be measured, but is not there" in capsys.readouterr().err


def test_without_data_unmeasured_rows_ask_for_it(place, capsys):
    assert main(words(place)) == 1
    assert "No row of stripes was measured yet: give --data" in capsys.readouterr().err
    assert not (place / "out").exists()


def test_datasets_that_were_not_measured_yet_wait(place, caplog):
    assert main(with_data(place)) == 0
    done = load_rows(place / "rows", "stripes")
    late = {path: replace(row, measured=None) for path, row in done.items()}
    assert study._measured({"stripes": done, "waves": late}) == [done]
    assert "waves: not measured yet" in caplog.text


def test_a_dataset_without_rows_and_a_folder_without_any_are_named(place, capsys):
    shutil.move(place / "rows/stripes", place / "rows/others")
    assert main(with_data(place)) == 1
    assert "has rows of others, but none of stripes" in capsys.readouterr().err
    shutil.rmtree(place / "rows")
    assert main(with_data(place)) == 1
    assert "has no rows of an ablation" in capsys.readouterr().err
