"""The command line, and what it says when something is wrong."""

from __future__ import annotations

import json

import pytest

from rvq_action import ActionTokenizer
from rvq_action.data.writer import LeRobotWriter
from rvq_action.statistics import load_statistics
from tests.synthetic import FEATURES, FPS, columns
from tests.tokenizer_training.conftest import TINY
from tokenizer_training.cli import main


@pytest.fixture
def fit_words(dataset, tmp_path) -> list[str]:
    folder = ["--run_dir", str(tmp_path / "run")]
    return ["fit", "--config", str(TINY), "--data.datasets", str(dataset), *folder]


def test_statistics_are_printed_and_written(dataset, tmp_path, capsys):
    out = tmp_path / "statistics.json"
    assert main(["statistics", "--data.datasets", str(dataset), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "test_arm" in printed and "gripper" in printed and "q99" in printed
    assert load_statistics(out)["test_arm"].actions.count[0] > 0


def test_fit_then_export_the_last_checkpoint(fit_words, tmp_path, capsys):
    assert main(fit_words) == 0
    run, out = tmp_path / "run", tmp_path / "exported"
    assert main(["export", "--checkpoint", str(run), "--out", str(out)]) == 0
    assert "8 steps" in capsys.readouterr().out
    exported = ActionTokenizer.from_pretrained(out)
    assert exported.config == ActionTokenizer.from_pretrained(run / "tokenizer").config
    assert json.loads((out / "metadata.json").read_text())["steps"] == 8


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--config", "bsae"], "there are"),
        (["--data.datasets"], "No dataset"),
        (["--data.datasets", "nowhere"], "nowhere"),
        (["--mapping", "nothing"], "No packaged mapping is called 'nothing'"),
        (["--data.validation", "2"], "validation share"),
        (["--data.seconds", "20"], "20 seconds at 10 Hz are 200 frames, but a chunk has 2 to 128"),
        (["--trainer.max_steps", "-5"], "--trainer.max_steps must be 0 or more, got -5"),
        (["--config", "{broken}"], "is no valid YAML: mapping values are not allowed here in li"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(fit_words, tmp_path, extra, message, capsys):
    broken = tmp_path / "broken.yaml"
    broken.write_text("trainer:\n  max_steps: 8\n   accelerator: cpu\n")
    assert main([*fit_words, *(word.format(broken=broken) for word in extra)]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rvq-train fit: ")
    assert message in error


def test_a_misspelt_loss_weight_is_an_error(fit_words, capsys):
    with pytest.raises(SystemExit):
        main([*fit_words, "--model.weights.smothness", "1"])
    assert "smothness" in capsys.readouterr().err


def test_a_run_without_a_folder_asks_for_one(dataset, capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--data.datasets", str(dataset)])
    error = capsys.readouterr().err
    assert "--run_dir DIR" in error and len(error.splitlines()) < 6


def test_a_folder_that_cannot_be_written_is_said_before_training(fit_words, tmp_path, capsys):
    (tmp_path / "run").write_text("")
    assert main(fit_words) == 1
    assert capsys.readouterr().err.strip().endswith("it is a file. Choose another one.")


def standstill(folder):
    """A dataset of a robot that never moves."""
    still = columns(30)
    still = {name: values * 0 for name, values in still.items()}
    with LeRobotWriter(folder, FPS, FEATURES, "test_arm") as writer:
        for _ in range(6):
            writer.add_episode(still, task="go")
    return folder


@pytest.mark.parametrize("refused", ["nowhere", "no cache", "standstill"])
def test_a_refused_run_leaves_nothing(fit_words, tmp_path, refused, capsys):
    before = sorted(tmp_path.iterdir())
    words = [*fit_words, "--run_dir", str(tmp_path / "runs" / "mine")]
    if refused == "no cache":
        words += ["--model.weights.alignment", "1"]
    else:
        data = tmp_path / refused
        if refused == "standstill":
            before = sorted([*before, standstill(data)])
        words += ["--data.datasets", str(data)]
    assert main(words) == 1
    assert capsys.readouterr().err.startswith("rvq-train fit: ")
    assert sorted(tmp_path.iterdir()) == before


def test_a_refused_run_leaves_what_was_there(fit_words, tmp_path, capsys):
    assert main(fit_words) == 0
    before = sorted((tmp_path / "run").rglob("*"))
    assert main([*fit_words, "--model.learning_rate", "0.5"]) == 1
    assert "other settings" in capsys.readouterr().err
    assert sorted((tmp_path / "run").rglob("*")) == before


@pytest.mark.parametrize("command", ["statistics", "features", "fit", "ablate", "export"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert "--" in capsys.readouterr().out


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "{statistics,features,fit,ablate,export}" in capsys.readouterr().out
