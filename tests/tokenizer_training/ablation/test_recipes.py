"""The packaged recipes, and which of them are meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rvq_action.housekeeping.training_folder import differences
from tokenizer_training.ablation.command import BUDGET
from tokenizer_training.ablation.plan import ParsedOptions, completed
from tokenizer_training.ablation.recipes import Recipe, choose, packaged_recipes
from tokenizer_training.ablation.row import AblationRow, row_file
from tokenizer_training.arguments import FIT_WORDS
from tokenizer_training.fit_cli import decisive

ROWS = Path(__file__).parents[3] / "docs" / "experiments" / "ablation"
DIFFERS = {
    "full": {},
    "plain_rvq": {"model.weights.commitment": 0.1},
    "no_alignment": {"model.weights.alignment": 0.0},
    "no_anchor": {"model.dropout.anchor": 1.0},
    "no_dct": {"model.weights.dct": 0.0},
    "no_masked_modelling": {"model.weights.masked_modelling": 0.0},
    "no_next_frame": {"model.weights.next_frame": 0.0},
    "shuffled_images": {"data.shuffle_images": True},
    "levels_1": {"closed_form.num_quantizers": 1},
    "levels_2": {"closed_form.num_quantizers": 2},
    "levels_8": {"closed_form.num_quantizers": 8},
    "codebook_256": {"closed_form.codebook_size": 256},
    "codebook_4096": {"closed_form.codebook_size": 4096, "closed_form.windows_per_code": 1},
}


def settings(*configs: str | Path) -> dict:
    words = [word for config in configs for word in ("--config", str(config))]
    parsed = ParsedOptions([*words, "--data.datasets", "data", "--run_dir", "run"])
    return decisive(json.loads(parsed.parser.dump(parsed.config, format="json")))


@pytest.mark.parametrize(("name", "file"), packaged_recipes().items())
def test_a_recipe_differs_from_its_parent_in_what_its_name_says(name, file):
    recipe = Recipe(name, file, None)
    assert recipe.differs() == DIFFERS[name]
    found = differences(settings(recipe.parent), settings(recipe.parent, file))
    assert sorted(line.split(":")[0] for line in found) == sorted(DIFFERS[name])


@pytest.mark.parametrize("name", ["full", "plain_rvq", "no_dct"])
def test_rows_that_are_kept_were_trained_with_what_the_recipe_says_now(name):
    recipe = Recipe(name, packaged_recipes()[name], None)
    now = settings(recipe.parent, BUDGET, recipe.file)
    then = completed(AblationRow.load(row_file(ROWS, "cr5_banana", name, 0)).settings, now)
    for part in ("closed_form", "model", "validation", "semantic", "trainer"):
        assert differences(then[part], now[part]) == []


def test_all_recipes_are_packaged_the_full_one_first_and_the_plain_one_on_base():
    packaged = packaged_recipes()
    assert set(packaged) == set(DIFFERS)
    assert list(packaged)[:2] == ["full", "plain_rvq"]
    parents = {name: Recipe(name, file, None).parent for name, file in packaged.items()}
    assert {name for name, parent in parents.items() if parent == "base"} == {"plain_rvq"}
    assert set(parents.values()) <= set(FIT_WORDS.packaged)


def test_the_budget_is_stated_in_one_place():
    assert BUDGET in FIT_WORDS.packaged
    assert settings("aligned", BUDGET)["trainer"]["max_steps"] < 1000
    assert not any("trainer.max_steps" in options for options in DIFFERS.values())


def test_every_recipe_but_the_plain_one_sees_the_cache():
    chosen = {recipe.name: recipe for recipe in choose(None, ["cache"])}
    assert set(chosen) == set(DIFFERS)
    assert chosen["plain_rvq"].cache is None
    assert all(r.cache == Path("cache") for n, r in chosen.items() if n != "plain_rvq")


def test_another_teacher_is_a_recipe_of_its_own():
    *_, other = choose(None, ["cache", "dino=elsewhere"])
    assert (other.name, other.cache, other.parent) == ("teacher_dino", Path("elsewhere"), "aligned")
    assert other.differs() == {"teacher": "dino"}


def test_a_recipe_may_be_a_file(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("model: {learning_rate: 0.5}")
    (recipe,) = choose([str(mine)], ["cache"])
    assert recipe.name == "mine" and recipe.differs() == {"model.learning_rate": 0.5}


@pytest.mark.parametrize("text", ["{", "[a, list]"])
def test_a_file_that_holds_no_options_is_named(tmp_path, text):
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    with pytest.raises(ValueError, match="mine.yaml"):
        choose([str(mine)], ["cache"])[0].differs()


@pytest.mark.parametrize(
    ("names", "features", "message"),
    [
        (["no_such"], ["cache"], "No recipe is called 'no_such'; there are .*'full'"),
        (["teacher_dino"], ["cache"], "NAME=CACHE"),
        (["full", "full"], ["cache"], "come twice"),
        (None, ["cache", "another"], "one cache for all recipes"),
        (None, ["dino=cache"], "one cache for all recipes"),
        (None, ["cache", "dino=a", "dino=b"], "name of its own"),
    ],
)
def test_what_is_not_understood_is_an_error(names, features, message):
    with pytest.raises(ValueError, match=message):
        choose(names, features)


def test_a_missing_file_is_an_error():
    with pytest.raises(FileNotFoundError, match="nowhere.yaml"):
        choose(["nowhere.yaml"], ["cache"])
