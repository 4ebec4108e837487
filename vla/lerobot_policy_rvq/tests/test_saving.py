"""RvqVlaPolicy on disk: in LeRobot's hands, from other versions, to ours and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from lerobot.policies.factory import make_pre_post_processors
from lerobot_policy_rvq.modeling_rvq_vla import RvqVlaPolicy

from vla.policy import VLAPolicy


def test_gathered_weights_are_saved_in_place_of_its_own(policy, tmp_path):
    """As LeRobot hands them over where every process has a part of them."""
    given = {name: weight + 1 for name, weight in policy.state_dict().items()}
    policy._save_pretrained(tmp_path, state_dict=given)
    for name, weight in RvqVlaPolicy.from_pretrained(tmp_path).state_dict().items():
        assert torch.equal(weight, given[name]), name


def test_one_process_of_several_writes(policy, tmp_path, monkeypatch):
    """LeRobot's main has all of them save."""
    monkeypatch.setattr("lerobot_policy_rvq.modeling_rvq_vla._rank", lambda: 1)
    policy.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_transformers_4_saved_is_read(policy, tmp_path):
    """As with LeRobot 0.4: it says of the text's part alone that the embeddings are tied."""
    policy.save_pretrained(tmp_path)
    file = tmp_path / "policy/vl_expert/config.json"
    told = json.loads(file.read_text()) | {"transformers_version": "4.57.6"}
    assert told.pop("tie_word_embeddings", True) and told["text_config"]["tie_word_embeddings"]
    file.write_text(json.dumps(told))
    for name, weight in RvqVlaPolicy.from_pretrained(tmp_path).state_dict().items():
        assert torch.equal(weight, policy.state_dict()[name]), name


def test_the_way_to_lerobot_and_back(policy, tmp_path):
    from lerobot_policy_rvq.convert import to_lerobot, to_ours

    policy.policy.save_pretrained(tmp_path / "ours")
    to_lerobot(str(tmp_path / "ours"), tmp_path / "theirs")
    loaded = RvqVlaPolicy.from_pretrained(tmp_path / "theirs")
    assert loaded.config.embodiment == "so101" and loaded.config.fps == 30.0
    make_pre_post_processors(loaded.config, str(tmp_path / "theirs"))
    to_ours(tmp_path / "theirs", tmp_path / "back")
    back = VLAPolicy.from_pretrained(tmp_path / "back")
    weights = policy.model.state_dict()
    for model in (loaded.model, back.model):
        assert all(torch.equal(w, weights[n]) for n, w in model.state_dict().items())
    with pytest.raises(ValueError, match="holds something"):
        to_ours(tmp_path / "theirs", tmp_path / "back")
    with pytest.raises(ValueError, match="base_policy"):
        RvqVlaPolicy.from_pretrained(tmp_path / "ours", config=policy.config)


def test_a_checkpoint_keeps_the_frames_that_it_was_trained_for(policy, tmp_path):
    policy.save_pretrained(tmp_path)
    asked = replace(policy.config, committed_frames=6)
    with pytest.raises(ValueError, match="trained with 0.*--policy.base_policy=.*policy"):
        RvqVlaPolicy.from_pretrained(tmp_path, config=asked)
    same = replace(policy.config, committed_frames=0)
    assert RvqVlaPolicy.from_pretrained(tmp_path, config=same).policy.config.committed_frames == 0
