"""`rvq-vla ablate`: the same training with other words, and rows that are not made twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rvq_action import ActionTokenizer
from tests.vla.evaluation.closed_loop.conftest import policy, recorded
from vla import cli
from vla.ablation import arms, command, finish
from vla.ablation.row import load_rows
from vla.data.bridge.settings import BridgeSettings
from vla.data.bridge.write import write_bridge

__all__ = ["policy", "recorded"]
BUDGET = """
vla: {config: mini}
data: {batch_size: 4, workers: 0}
model: {flow_draws: 1}
trainer: {max_steps: 2, accelerator: cpu}
validation: {windows: 0}
gradients_every_n_steps: 0
"""


@pytest.fixture(scope="module")
def tokenizer(policy, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "plain"
    policy.tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def bridge(recorded, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "bridge"
    write_bridge(BridgeSettings((str(recorded),), per_answer=2), path, progress=False)
    return path


@pytest.fixture
def words(recorded, tokenizer, tmp_path) -> list[str]:
    (tmp_path / "budget.yaml").write_text(BUDGET)
    options = ["--data", recorded, "--tokenizers", f"plain_rvq={tokenizer}", "--seeds", "0"]
    options += ["--budget", tmp_path / "budget.yaml", "--tasks", "reach-v3", "--starts", "1"]
    options += ["--rows", tmp_path / "rows", "--runs", tmp_path / "runs", "--jobs", "2"]
    return ["ablate", *map(str, options)]


@pytest.fixture
def stand_in(tmp_path, monkeypatch) -> list[str]:
    """Training that takes no time, and attempts that are not made; the list names them."""
    script, made = tmp_path / "train.py", list[str]()
    script.write_text(
        "import pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[sys.argv.index('--run_dir') + 1])\n"
        "folder.mkdir(parents=True, exist_ok=True)\n"
        "(folder / 'said').write_text(' '.join(sys.argv))\n"
        "if 'fast' in folder.name: sys.exit('rvq-vla train: it went wrong')\n"
        "(folder / 'COMPLETE').write_text('2 steps')\n"
    )
    monkeypatch.setattr(command, "PROGRAM", (sys.executable, str(script)))

    def solved(run, workers):
        made.append(run.name)
        return {"reach-v3": "1"}

    monkeypatch.setattr(finish, "solved", solved)
    monkeypatch.setattr(finish, "answered", lambda run: {})
    return made


def said(tmp_path: Path, run: str) -> str:
    return (tmp_path / "runs" / "demos" / run / "said").read_text()


def test_only_the_words_are_swapped(words, stand_in, tmp_path, capsys, tokenizer):
    assert cli.main([*words, "--arms", "plain_rvq", "none"]) == 0
    plain, none = (said(tmp_path, f"{arm}-seed0") for arm in ("plain_rvq", "none"))
    silent = " --data.action_tokens false --model.weights.action_ce 0"
    assert silent in none and str(tokenizer) in none
    assert none.replace(silent, "").replace("none-seed0", "plain_rvq-seed0") == plain
    rows = {row.arm: row for row in load_rows(tmp_path / "rows")["demos"]}
    words_of = ActionTokenizer.from_pretrained(tokenizer)
    assert rows["plain_rvq"].tokens == words_of.tokens_per_chunk > 0 == rows["none"].tokens
    assert rows["plain_rvq"].solved == {"reach-v3": "1"} and rows["none"].steps == 2
    text = (tmp_path / "rows" / "demos" / "none-seed0.json").read_text()
    assert str(tmp_path) not in text and str(tokenizer) not in text


def test_rows_are_not_made_twice_and_a_failure_stops_nobody(words, stand_in, tmp_path, capsys):
    assert cli.main(words) == 1
    assert "fast-seed0: rvq-vla train: it went wrong" in capsys.readouterr().err
    assert sorted(stand_in) == ["none-seed0", "plain_rvq-seed0"]
    stand_in.clear()
    assert cli.main([*words, "--arms", "plain_rvq", "none", "--seeds", "0", "1"]) == 0
    assert sorted(stand_in) == ["none-seed1", "plain_rvq-seed1"]
    assert cli.main([*words, "--arms", "none", "--starts", "2"]) == 1
    told = capsys.readouterr().err
    assert "there with other settings: none-seed0 (rollouts.starts: 1 -> 2)" in told
    stand_in.clear()
    assert cli.main([*words, "--arms", "none", "--starts", "2", "--again"]) == 0
    assert stand_in == ["none-seed0"] and "--resume never" in said(tmp_path, "none-seed0")


def test_a_run_with_other_settings_is_noticed_before_training(words, stand_in, tmp_path, capsys):
    folder = tmp_path / "runs" / "demos" / "none-seed0"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"seed_everything": 7}))
    assert cli.main([*words, "--arms", "none"]) == 1
    assert "seed_everything: 7 -> 0" in capsys.readouterr().err and not stand_in


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--arms", "diffusion"], "--arms takes some of ['plain_rvq', 'fast', 'none']"),
        (["--tokenizers", "somewhere"], "under a name of its own, such as plain_rvq=DIR"),
        (["--jobs", "0"], "--jobs must be at least 1"),
        (["--bridge", "nowhere"], "train.jsonl, nowhere/held_out.jsonl is missing"),
    ],
)
def test_bad_options_are_refused_before_training(words, stand_in, capsys, more, says):
    assert cli.main([*words, *more]) == 1
    assert says in capsys.readouterr().err and not stand_in


def test_tokenizers_of_other_spaces_are_refused(tokenizer):
    own = ActionTokenizer.from_pretrained(tokenizer)
    longer = ActionTokenizer(own.model, own.embodiments, {**own.metadata, "seconds": 2.0})
    arms.check_same_space({"one": own, "two": own})
    with pytest.raises(ValueError, match="'one' and 'two' differ in their seconds"):
        arms.check_same_space({"one": own, "two": longer})


def test_questions_that_are_not_there_are_noticed_before_training(
    words, bridge, stand_in, tmp_path, capsys
):
    (tmp_path / "bridge").mkdir()
    (tmp_path / "bridge" / "train.jsonl").write_text((bridge / "train.jsonl").read_text())
    (tmp_path / "bridge" / "held_out.jsonl").write_text("")
    assert cli.main([*words, "--bridge", str(tmp_path / "bridge")]) == 1
    assert "held_out.jsonl asks nothing" in capsys.readouterr().err and not stand_in


def test_a_policy_is_trained_tried_and_asked(words, bridge, tmp_path):
    assert cli.main([*words, "--arms", "fast", "--bridge", str(bridge)]) == 0
    ((row,),) = load_rows(tmp_path / "rows").values()
    assert row.arm == "fast" and row.levels == 1 and row.codebook_size == 1024 and row.tokens > 0
    assert len(row.solved["reach-v3"]) == 1 and row.seconds is not None and row.steps == 2
    assert row.vqa["all"]["count"] == sum(row.vqa[kind]["count"] for kind in row.vqa) / 2 > 0
