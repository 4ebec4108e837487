"""The README's Python runs, and the commands it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from rvq_action import joint_space
from rvq_action.analytic import ClosedFormRecipe, fit_closed_form
from rvq_action.chunk import ActionChunk
from rvq_action.embodiment import Embodiment
from rvq_action.statistics import StatisticsBuilder

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def motions(count: int, horizon: int) -> ActionChunk:
    """Smooth motions of four joints away from their anchors."""
    generator = torch.Generator().manual_seed(0)
    anchor = torch.randn(count, 4, generator=generator)
    speed = torch.randn(count, 1, 4, generator=generator)
    time = torch.linspace(0, 1, horizon)[None, :, None]
    actions = anchor[:, None] + speed * torch.sin(2 * time) + speed.roll(1, -1) * time**2
    mask = torch.ones_like(actions, dtype=torch.bool)
    return ActionChunk(actions, mask, anchor, torch.ones_like(anchor, dtype=torch.bool), 30.0, "a")


@pytest.fixture
def artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ActionChunk:
    """A tokenizer where the README looks for one; the chunks it was fitted on."""
    chunk, layout = motions(512, 30), joint_space(4)
    builder = StatisticsBuilder(layout)
    builder.update(chunk)
    recipe = ClosedFormRecipe(slots_per_channel=1.0, iterations=3)
    tokenizer = fit_closed_form([chunk], {"a": Embodiment(layout, builder.build(), 30.0)}, recipe)
    tokenizer.save_pretrained(tmp_path / "runs/so101/tokenizer")
    monkeypatch.chdir(tmp_path)
    return chunk


def test_the_six_lines_run(artefact: ActionChunk):
    (code,) = blocks("python")
    names: dict = {"actions": artefact.actions[:16], "proprio": artefact.anchor[:16]}
    exec(code, names)
    full = (names["chunk"] - names["actions"]).abs().mean()
    early = (names["early"] - names["actions"]).abs().mean()
    assert full < early < names["actions"].abs().mean()
    assert (names["short"] >= 0).sum() < (names["codes"] >= 0).sum()
    assert torch.equal(names["tok"].vocabulary.to_codes(names["ids"]), names["codes"])


def test_the_commands_it_names_exist():
    project = (ROOT / "pyproject.toml").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for line in filter(None, "".join(blocks("bash")).splitlines()):
        word, argument = line.split()[:2]
        if word == "make":
            assert re.search(rf"^{argument}:", makefile, flags=re.MULTILINE), line
        elif word != "pip":
            assert f"{word} =" in project, line


def test_the_map_names_what_is_there():
    tree = README.split("## Map of the tree")[1].split("```")[1]
    top = nested = ROOT
    for line in tree.strip().splitlines():
        head = line.split()[0]
        if not line.startswith(" "):
            top = nested = ROOT / head
        elif head.endswith("/"):
            nested = top / head
        assert nested.is_dir(), nested
        for name in re.findall(r"[\w/]+\.(?:py|yaml|md)", line):
            assert (top / name).exists() or (nested / name).exists(), f"{nested.name}/{name}"
