"""The four console scripts as a newcomer meets them."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

PACKAGES = {
    "rvq-action": "rvq_action",
    "rvq-train": "tokenizer_training",
    "rvq-vla": "vla",
    "rvq-analysis": "analysis",
}
DEMOS = "demos --tasks reach-v3 --episodes 1"
SEMANTICS = "semantics --tokenizers {nowhere} --features {nowhere} --data {nowhere}"
ABLATE = "ablate --data.datasets {nowhere} --features {nowhere} --runs_dir {free}"
WRONG = [
    ("rvq-action", "check {nowhere}", "There is no folder"),
    ("rvq-train", "statistics --data.datasets {nowhere}", "There is no folder"),
    ("rvq-train", "statistics --data.datasets lerobot/pusht", "hf download lerobot/pusht --repo"),
    ("rvq-train", "statistics --data.datasets {nowhere} --out {file}/x.json", "it is a file"),
    ("rvq-train", "features --data.datasets {nowhere} --out {free}", "There is no folder"),
    ("rvq-train", ABLATE + " --out {free}", "There is no folder"),
    ("rvq-train", "export --checkpoint {nowhere} --out {free}", "There is no checkpoint"),
    ("rvq-train", "export --checkpoint {nowhere} --out {file}/x", "it is a file"),
    ("rvq-vla", DEMOS.replace("reach", "raech") + " --out {free}", "Perhaps: reach-v3"),
    ("rvq-vla", DEMOS + " --out {file}/x", "it is a file"),
    ("rvq-vla", DEMOS + " --out {file}", "is no set of demonstrations"),
    ("rvq-vla", "bridge --data {nowhere} --out {free}", "There is no folder"),
    ("rvq-vla", "bridge --data {nowhere} --out {file}/x", "it is a file"),
    ("rvq-vla", "bridge --data {nowhere} --out {file}", "holds no bridge samples"),
    ("rvq-analysis", "compare --data {nowhere} --out {free}", "There is no folder"),
    ("rvq-analysis", "compare --tokenizers {nowhere} --data {nowhere} --out {free}", "neither"),
    ("rvq-analysis", "compare --data {nowhere} --out {file}", "it is a file"),
    ("rvq-analysis", SEMANTICS + " --out {free}", "neither"),
    ("rvq-analysis", "ablation --rows {nowhere} --out {free}", "has no rows of an ablation"),
    ("rvq-analysis", "ablation --rows {nowhere} --out {file}", "it is a file"),
    ("rvq-analysis", SEMANTICS + " --out {file}", "it is a file"),
]


def main(program: str):
    return import_module(f"{PACKAGES[program]}.cli").main


@pytest.mark.parametrize(("program", "words", "message"), WRONG)
def test_a_wrong_path_is_one_clear_line(program, words, message, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    places = {name: tmp_path / name for name in ("nowhere", "file", "free")}
    assert main(program)(words.format(**places).split()) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"{program} {words.split()[0]}: ") and error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize("program", PACKAGES)
def test_help_names_every_command_and_is_quick(program):
    """Quick, because nothing heavy is imported for it."""
    code = (
        f"import sys; from {PACKAGES[program]}.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([m for m in ('torch', 'mujoco') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    commands = import_module(f"{PACKAGES[program]}.cli").COMMANDS
    names = [c if isinstance(c, str) else c.__name__.split(".")[-1] for c in commands]
    assert names and all(name in done.stdout for name in names)


@pytest.mark.parametrize("program", PACKAGES)
@pytest.mark.parametrize("words", [[], ["nonsense"], ["--nonsense"]])
def test_no_command_or_a_foreign_one_shows_the_usage(program, words, capsys):
    with pytest.raises(SystemExit) as left:
        main(program)(words)
    assert left.value.code == 2
    assert f"usage: {program}" in capsys.readouterr().err
