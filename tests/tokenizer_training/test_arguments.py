"""The argument step of `rvq-train fit`."""

from __future__ import annotations

import pytest

from tests.tokenizer_training.conftest import TINY
from tokenizer_training.arguments import FIT_WORDS
from tokenizer_training.fit_cli import FitCLI


def test_a_packaged_name_becomes_its_path():
    base = f"--config={FIT_WORDS.packaged['base']}"
    assert FIT_WORDS.prepare(["--config", "base"]) == [base]
    assert FIT_WORDS.prepare(["--config=base"]) == FIT_WORDS.prepare(["-c", "base"]) == [base]


def test_a_path_stays_a_path(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.touch()
    assert FIT_WORDS.prepare(["--config", str(mine)]) == [f"--config={mine}"]


def test_a_list_is_gathered_up_to_the_next_option():
    words = ["--data.datasets", "a b", "c", "--run_dir", "d", "e"]
    assert FIT_WORDS.prepare(words) == ['--data.datasets=["a b", "c"]', "--run_dir", "d", "e"]
    assert FIT_WORDS.prepare(["--data.datasets=[a,b]"]) == ["--data.datasets=[a,b]"]


def test_configurations_go_first_in_their_order():
    base, demo = (f"--config={FIT_WORDS.packaged[name]}" for name in ("base", "demo"))
    words = ["--trainer.max_steps", "20", "--config", "base", "--run_dir=d", "-c", "demo"]
    assert FIT_WORDS.prepare(words) == [base, demo, "--trainer.max_steps", "20", "--run_dir=d"]


@pytest.mark.parametrize("config_first", [True, False])
def test_an_option_wins_wherever_the_configuration_stands(config_first, tmp_path):
    option, config = ["--trainer.max_steps", "20"], ["--config", str(TINY)]
    words = [*config, *option] if config_first else [*option, *config]
    cli = FitCLI([*words, "--data.datasets", "nowhere", "--run_dir", str(tmp_path)])
    assert cli.trainer.max_steps == 20
    assert cli.config_name == "tiny"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="called 'bsae'; there are .*'base'"):
        FIT_WORDS.resolve("bsae")
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        FIT_WORDS.resolve("nowhere/mine.yaml")
