"""What `make` would run."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.cli import ablation_parser
from tokenizer_training.ablation.command import ablate_parser

ROOT = Path(__file__).parent.parent
GIVEN = ("DATA=runs/demo/metaworld", "CACHE=runs/features")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
class TestAblation:
    def commands(self, *variables: str) -> dict[str, list[str]]:
        """The target's commands by what they do: the words after it."""
        words = ["make", "--dry-run", "--no-print-directory", "ablation", *GIVEN, *variables]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        lines = done.stdout.replace("\\\n", " ").splitlines()
        found = [shlex.split(line) for line in lines if line.startswith(".venv/bin/rvq-")]
        return {command[1]: command[2:] for command in found}

    def test_rows_lie_beside_the_runs_and_never_among_the_published_ones(self):
        """A dataset of one's own may be called what a published one is called."""
        commands = self.commands()
        assert list(commands) == ["features", "ablate", "ablation"]
        trained = ablate_parser().parse_args(commands["ablate"])
        drawn = ablation_parser().parse_args(commands["ablation"])
        assert trained.out == str(drawn.rows) == "runs/ablation/rows"
        assert trained.runs_dir == str(drawn.runs_dir) == "runs/ablation"
        other = self.commands("ABLATION=runs/other")
        assert ablate_parser().parse_args(other["ablate"]).out == "runs/other/rows"

    def test_another_folder_of_rows_may_be_given(self):
        commands = self.commands("ROWS=docs/experiments/ablation")
        assert ablate_parser().parse_args(commands["ablate"]).out == "docs/experiments/ablation"
        drawn = ablation_parser().parse_args(commands["ablation"])
        assert str(drawn.rows) == "docs/experiments/ablation"

    def test_other_teachers_are_tried_where_they_are_given(self):
        trained = ablate_parser().parse_args(self.commands("TEACHERS=8x8=small")["ablate"])
        assert trained.features == ["runs/features", "8x8=small"]
        assert ablate_parser().parse_args(self.commands()["ablate"]).features == ["runs/features"]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_trained_tokenizers_may_be_stressed():
    words = ["make", "--dry-run", "--no-print-directory", "stress", "TOKENIZERS=a/tokenizer b"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 'RVQ_ACTION_TOKENIZERS="a/tokenizer b" .venv/bin/python -m pytest' in done.stdout


def test_without_make_rows_lie_there_too():
    given = ["--data.datasets", "arm", "--features", "cache"]
    trained = ablate_parser().parse_args(given)
    drawn = ablation_parser().parse_args(["--out", "report"])
    assert trained.out == str(drawn.rows) == "runs/ablation/rows"
    assert trained.runs_dir == str(drawn.runs_dir) == "runs/ablation"
