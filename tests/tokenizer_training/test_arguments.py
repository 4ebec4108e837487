"""The argument step of `rvq-train fit`."""

from __future__ import annotations

import pytest

from tokenizer_training.arguments import packaged_configs, prepare, resolve_config


def test_a_packaged_name_becomes_its_path():
    base = f"--config={packaged_configs()['base']}"
    assert prepare(["--config", "base"]) == [base]
    assert prepare(["--config=base"]) == prepare(["-c", "base"]) == [base]


def test_a_path_stays_a_path(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.touch()
    assert prepare(["--config", str(mine)]) == [f"--config={mine}"]


def test_a_list_is_gathered_up_to_the_next_option():
    words = ["--data.datasets", "a b", "c", "--run_dir", "d", "e"]
    assert prepare(words) == ['--data.datasets=["a b", "c"]', "--run_dir", "d", "e"]
    assert prepare(["--data.datasets=[a,b]"]) == ["--data.datasets=[a,b]"]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="called 'bsae'; there are .*'base'"):
        resolve_config("bsae")
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        resolve_config("nowhere/mine.yaml")
