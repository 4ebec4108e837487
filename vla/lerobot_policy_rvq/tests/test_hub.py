"""Tokenizers and policies by hub id in LeRobot's hands, from the hub's cache, offline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from lerobot.policies.factory import make_pre_post_processors
from lerobot_policy_rvq.modeling_rvq_vla import RvqVlaPolicy

from rvq_action import ActionTokenizer
from tests.conftest import ROOT
from tests.hub_cache import keep
from vla.lerobot_policy_rvq.tests.conftest import Program
from vla.lerobot_policy_rvq.tests.robots import config

STEP = """
import torch
from lerobot.processor import tokenizer_processor
from tests.rvq_action.test_hosts import PaliGemma

tokenizer_processor.AutoTokenizer.from_pretrained = lambda *_, **__: PaliGemma()
step = tokenizer_processor.ActionTokenizerProcessorStep(action_tokenizer_name="owner/tokens")
done = step({"action": torch.zeros(2, 20, 4), "observation": None})["complementary_data"]
print(*done["action.token_mask"].sum(1).tolist())
"""
"""PaliGemma's vocabulary is not to be had offline; all else is LeRobot's."""
AROUND = 6
"""Words that LeRobot writes before and behind a chunk's."""


@pytest.fixture(scope="module")
def home(tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub's folder, in whose cache `owner/tokens` lies."""
    folder = tmp_path_factory.mktemp("hub")
    keep(tokens, folder, "owner/tokens")
    return folder


@pytest.fixture(scope="module")
def checkpoint(run: Program, home, demos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a step of `lerobot-train` leaves, told the tokenizer's id."""
    out = tmp_path_factory.mktemp("trained") / "run"
    flags = [
        *("--policy.type=rvq_vla", "--policy.shape=mini", "--policy.device=cpu", "--steps=1"),
        *("--policy.action_tokenizer_name=owner/tokens", "--policy.push_to_hub=false"),
        *("--dataset.repo_id=local/demos", f"--dataset.root={demos}", f"--output_dir={out}"),
        *("--batch_size=2", "--num_workers=0"),
    ]
    run("lerobot-train", *flags, env={"HF_HOME": str(home)})
    return out / "checkpoints/last/pretrained_model"


@pytest.fixture
def here(home, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process looks for repositories there, and nowhere else."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return home


def test_lerobots_step_takes_an_id(run, home, tokens):
    told = {"HF_HOME": str(home), "PYTHONPATH": str(ROOT)}
    words = run("python", "-c", STEP, env=told).stdout.split()
    own = ActionTokenizer.from_pretrained(tokens).tokens_per_chunk
    assert words == 2 * [str(own + AROUND)]


def test_lerobot_train_takes_an_id(checkpoint, tokens):
    told = json.loads((checkpoint / "config.json").read_text())
    assert told["action_tokenizer_name"] == "owner/tokens"
    known = RvqVlaPolicy.from_pretrained(checkpoint).policy.tokenizer
    assert known.metadata == ActionTokenizer.from_pretrained(tokens).metadata


def test_a_checkpoint_is_one_by_its_id_too(checkpoint, here):
    keep(checkpoint, here, "owner/policy")
    loaded = RvqVlaPolicy.from_pretrained("owner/policy")
    own = RvqVlaPolicy.from_pretrained(checkpoint).model.state_dict()
    assert all(torch.equal(w, own[name]) for name, w in loaded.model.state_dict().items())
    before, behind = make_pre_post_processors(loaded.config, "owner/policy")
    given = {"observation.state": torch.rand(2, 4), "action": torch.rand(2, 20, 4)}
    chunk = before(given)["action"]
    assert chunk.shape == (2, 20, 4) and behind(chunk).isfinite().all()


def test_an_id_that_is_nowhere_is_named(here):
    with pytest.raises(ValueError, match="'owner/other' is no directory here, and the hub cannot"):
        config(Path("owner/other"))
