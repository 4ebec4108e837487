"""What is still to be trained, and what rows remember."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from rvq_action.housekeeping.training_folder import differences
from tests.tokenizer_training.conftest import TINY
from tokenizer_training.ablation.plan import _claims, _Facts, plan
from tokenizer_training.ablation.row import AblationRow


def row_of(planned) -> AblationRow:
    run = planned.run
    return AblationRow(
        recipe=run.recipe.name,
        seed=run.seed,
        dataset=run.dataset_name,
        parent=run.recipe.parent,
        differs=run.recipe.differs(),
        settings=planned.settings,
        teacher=planned.teacher,
        tokens=6,
        levels=2,
        codebook_size=16,
        steps=8,
        best_step=4,
        seconds=1.5,
        figures={"validation/mse": 0.25},
    )


def test_a_row_is_not_trained_again(run_of, tmp_path):
    runs = [run_of("full"), run_of("plain_rvq")]
    first, second = plan(runs, tmp_path)
    assert (first.teacher, second.teacher) == ("pixels", None)
    row_of(first).save(runs[0].row(tmp_path))
    (left,) = plan(runs, tmp_path)
    assert left.run == runs[1] and not left.fresh


def test_a_seed_changes_everything_random_but_not_the_split(run_of, tmp_path):
    one, other = (p.settings for p in plan([run_of("full", 0), run_of("full", 1)], tmp_path))
    assert differences(one, other) == ["seed_everything: 0 -> 1"]
    assert one["data"]["split_seed"] == other["data"]["split_seed"]


def test_settings_hold_what_decides_and_no_path(run_of, tmp_path):
    full, other = plan([run_of("full"), run_of("teacher_other")], tmp_path)
    assert full.settings["found"]["stripes"]["episodes"] == 8
    (line,) = differences(full.settings, other.settings)
    assert line.startswith("features.stripes: ")
    assert str(tmp_path.parent) not in json.dumps(full.settings)


def test_a_row_of_before_an_option_had_what_stood_then(run_of, tmp_path):
    (planned,) = plan([run_of("full")], tmp_path)
    row, settings = row_of(planned), json.loads(json.dumps(planned.settings))
    for option in ("windows_per_code", "channels"):
        del settings["closed_form"][option]
    replace(row, settings=settings).save(planned.run.row(tmp_path))
    with pytest.raises(ValueError, match="closed_form.channels: 'together' -> 'auto'"):
        plan([planned.run], tmp_path)


def test_a_row_with_other_settings_is_an_error_or_trained_again(run_of, tmp_path):
    run = run_of("full")
    (planned,) = plan([run], tmp_path)
    row_of(planned).save(run.row(tmp_path))
    longer = run_of("full", max_steps=9)
    with pytest.raises(ValueError, match=r"trainer.max_steps: 8 -> 9.*--again"):
        plan([longer], tmp_path)
    (again,) = plan([longer], tmp_path, again=True)
    assert again.run == longer and not again.fresh


def test_an_option_that_came_after_a_row_counts_as_its_default(run_of, tmp_path):
    run = run_of("full")
    (planned,) = plan([run], tmp_path)
    row = row_of(planned)
    del row.settings["model"]["weights"]["smoothness"]
    row.save(run.row(tmp_path))
    assert plan([run], tmp_path) == []
    del row.settings["closed_form"]["depth"]
    row.save(run.row(tmp_path))
    with pytest.raises(ValueError, match="depth: 2 -> 1"):
        plan([run], tmp_path)


def test_a_row_knows_what_its_mapping_said_unless_it_is_older(run_of, tmp_path):
    run = run_of("full")
    (planned,) = plan([run], tmp_path)
    row = row_of(planned)
    row.settings["contents"]["mappings"]["stripes"]["embodiment"] = "another"
    row.save(run.row(tmp_path))
    with pytest.raises(ValueError, match="stripes.embodiment: 'another' -> "):
        plan([run], tmp_path)
    del row.settings["contents"]
    row.save(run.row(tmp_path))
    assert plan([run], tmp_path) == []


def test_a_folder_with_another_run_starts_afresh_once(run_of, tmp_path):
    run = run_of("full")
    run.folder.path.mkdir(parents=True)
    run.folder.record.write_text('{"model": "another"}')
    with pytest.raises(ValueError, match="--again"):
        plan([run], tmp_path)
    (planned,) = plan([run], tmp_path, again=True)
    assert planned.fresh
    shutil.rmtree(run.folder.path)
    assert not plan([run], tmp_path, again=True)[0].fresh


def test_a_run_on_other_features_behind_the_same_path_is_noticed(run_of, tmp_path):
    run = run_of("full")
    claims = _claims(run, _Facts())
    run.folder.path.mkdir(parents=True)
    run.folder.record.write_text(json.dumps(claims))
    assert not plan([run], tmp_path)[0].fresh
    claims["features"]["stripes"] = "of before"
    run.folder.record.write_text(json.dumps(claims))
    with pytest.raises(ValueError, match="features.stripes: 'of before' -> "):
        plan([run], tmp_path)
    assert plan([run], tmp_path, again=True)[0].fresh


def test_an_option_that_there_is_not_is_said_before_anything_is_trained(run_of, tmp_path, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_text("model: {weights: {smothness: 1.0}}")
    with pytest.raises(ValueError, match="mine.yaml"):
        plan([run_of("full"), run_of(str(mine))], tmp_path)
    assert "smothness" in capsys.readouterr().err


def test_datasets_are_checked_by_the_options_of_the_budget(run_of, tmp_path):
    budget = tmp_path / "budget.yaml"
    budget.write_text(TINY.read_text().replace("data: {", "data: {seconds: 20, "))
    run = run_of("full")
    with pytest.raises(ValueError, match="200 frames"):
        plan([replace(run, budget=replace(run.budget, config=str(budget)))], tmp_path)


def test_a_row_reads_back_as_it_was(run_of, tmp_path):
    (planned,) = plan([run_of("no_dct")], tmp_path)
    row, file = replace(row_of(planned), measured={"mse": [1.0, 2.0]}), tmp_path / "deep" / "a.json"
    row.save(file)
    assert AblationRow.load(file) == row
    assert len(file.read_text().splitlines()) < 25


def test_a_row_that_was_changed_by_hand_is_refused(run_of, tmp_path):
    (planned,) = plan([run_of("full")], tmp_path)
    file = tmp_path / "a.json"
    row_of(planned).save(file)
    file.write_text(file.read_text().replace('"max_steps": 8', '"max_steps": 800'))
    with pytest.raises(ValueError, match="changed by hand"):
        AblationRow.load(file)
    file.write_text('{"recipe": "full"}')
    with pytest.raises(ValueError, match="no row of an ablation"):
        AblationRow.load(file)
