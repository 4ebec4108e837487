"""The README's Python runs, and the commands it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.analytic import fit_closed_form
from rvq_action.chunk import ActionChunk
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.data.resolve import load_mapping
from rvq_action.embodiment import Embodiment
from rvq_action.statistics import StatisticsBuilder
from tests.rvq_action.robots import ARM, arm_chunk, fit
from tests.vla.conftest import CAMERAS, observe
from vla.config import VLAConfig
from vla.policy import VLAPolicy

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
MOTORS = tuple(f"{joint}.pos" for joint in JOINTS)
PERCENT = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 100.0])
"""The robot counts its gripper to 100, the layout to 1."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def motions(count: int, horizon: int) -> ActionChunk:
    """Smooth motions of an SO-101 away from where it stands."""
    generator = torch.Generator().manual_seed(0)
    anchor = torch.randn(count, 6, generator=generator)
    speed = torch.randn(count, 1, 6, generator=generator)
    time = torch.linspace(0, 1, horizon)[None, :, None]
    actions = anchor[:, None] + speed * torch.sin(2 * time) + speed.roll(1, -1) * time**2
    mask = torch.ones_like(actions, dtype=torch.bool)
    known = torch.ones_like(anchor, dtype=torch.bool)
    return ActionChunk(actions, mask, anchor, known, 30.0, "so101")


@pytest.fixture
def artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ActionChunk:
    """A tokenizer where the README looks for one; the chunks it was fitted on."""
    chunk, mapping = motions(512, 30), load_mapping("so101").with_columns(lambda feature: MOTORS)
    builder = StatisticsBuilder(mapping.layout)
    builder.update(chunk)
    recipe = ClosedFormRecipe(slots_per_channel=1.0, iterations=3)
    known = Embodiment(mapping.layout, builder.build(), 30.0, mapping.to_dict())
    tokenizer = fit_closed_form([chunk], {"so101": known}, recipe)
    tokenizer.save_pretrained(tmp_path / "runs/so101/tokenizer")
    monkeypatch.chdir(tmp_path)
    return chunk


def test_the_six_lines_run(artefact: ActionChunk):
    code = blocks("python")[0]
    names: dict = {"actions": artefact.actions[:16], "proprio": artefact.anchor[:16]}
    exec(code, names)
    full = (names["chunk"] - names["actions"]).abs().mean()
    early = (names["early"] - names["actions"]).abs().mean()
    assert full < early < names["actions"].abs().mean()
    assert (names["short"] >= 0).sum() < (names["codes"] >= 0).sum()
    assert torch.equal(names["tok"].vocabulary.to_codes(names["ids"]), names["codes"])


def test_the_way_from_the_robots_numbers_and_back_runs(artefact: ActionChunk):
    recorded, observed = artefact.actions[3] * PERCENT, artefact.anchor[3] * PERCENT
    observation = {**dict(zip(MOTORS, observed.tolist(), strict=True)), "front": None}
    tok = ActionTokenizer.from_pretrained("runs/so101/tokenizer")
    names: dict = {"tok": tok, "observation": observation, "recorded": recorded.numpy()}
    exec(blocks("python")[1], names)
    assert names["commands"].shape == recorded.shape and tuple(names["first"]) == MOTORS
    error = (torch.from_numpy(names["commands"]) - recorded).abs().mean()
    assert error < 0.3 * (recorded - observed).abs().mean()


def test_the_processor_takes_the_place_of_fast(artefact: ActionChunk):
    tok = ActionTokenizer.from_pretrained("runs/so101/tokenizer")
    given = tok.prepare(artefact)
    names: dict = {"tok": tok, "chunks": given.x.numpy()}
    exec(blocks("python")[2], names)
    error = abs(names["back"] - names["chunks"]).mean()
    assert error < 0.5 * abs(names["chunks"]).mean()
    assert not names["repaired"].any()
    assert max(names["placed"].ids) == 257_152 - 1 - 128
    assert len(names["fitted"](names["chunks"])) == len(names["tokens"])


def test_a_policy_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tokenizer = fit({"arm": (ARM, arm_chunk(512))})
    config = VLAConfig.tiny().for_tokenizer(tokenizer, {"arm": CAMERAS["arm"]})
    VLAPolicy.start(config, tokenizer).save_pretrained(tmp_path / "runs/policy/policy")
    monkeypatch.chdir(tmp_path)
    seen = observe("arm")
    names: dict = {"images": seen.images, "state": seen.proprio}
    exec(blocks("python")[3], names)
    assert names["chunk"].shape == (20, len(ARM.names))
    assert len(blocks("python")) == 4, "a block that no test runs"


def test_the_commands_it_names_exist():
    project = (ROOT / "pyproject.toml").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for line in filter(None, "".join(blocks("bash")).replace("\\\n", " ").splitlines()):
        word, argument = line.split()[:2]
        if word == "make":
            assert re.search(rf"^{argument}:", makefile, flags=re.MULTILINE), line
        elif word not in ("pip", "python3"):
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
