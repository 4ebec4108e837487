"""docs/evaluation.md: its commands exist, and its YAML is what comes along."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from analysis.cli import COMMANDS as ANALYSIS
from vla.cli import COMMANDS
from vla.deploy.robots.metaworld import SIGNALS
from vla.evaluation.progress.rubric import Rubric
from vla.evaluation.progress.rubrics import packaged_rubrics

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "evaluation.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_its_commands_and_their_options_exist():
    parsers = {"rvq-vla": COMMANDS, "rvq-analysis": ANALYSIS}
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    for line in filter(None, lines):
        program, command, *words = line.split("#")[0].split()
        if program == "make":
            makefile = (ROOT / "Makefile").read_text()
            assert re.search(rf"^{command}:", makefile, flags=re.MULTILINE)
            continue
        parser = parsers[program][command][0]()
        parser.parse_args(words)


def test_its_rubric_comes_along():
    (text,) = blocks("yaml")
    for task, stages in yaml.safe_load(text).items():
        assert Rubric.from_data(task, stages, SIGNALS) == packaged_rubrics()[task]
    assert f"rubrics for {len(packaged_rubrics())} tasks" in TEXT


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
