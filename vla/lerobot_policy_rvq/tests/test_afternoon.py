"""docs/lerobot.md from its first command to its last."""

from __future__ import annotations

import json
import re

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot_policy_rvq.modeling_rvq_vla import RvqVlaPolicy
from safetensors.torch import load_file
from transformers import AutoProcessor

from rvq_action.data.lerobot import LeRobotReader
from vla.lerobot_policy_rvq.tests.afternoon import ELSEWHERE, RECORD, SMALLER, commands
from vla.policy import VLAPolicy

LAST = "checkpoints/last/pretrained_model"


def test_every_command_of_the_page_is_run(afternoon):
    own = [command for command in commands() if not command.startswith(ELSEWHERE)]
    assert [*afternoon.done, *afternoon.waiting] == own and len(own) == 10
    text = " ".join(commands())
    assert all(said in text for said in SMALLER)


def test_training_lowers_the_loss(afternoon):
    said = afternoon.until("lerobot-train --policy.type=rvq_vla").stderr
    losses = [float(loss) for loss in re.findall(r"step:\S+ .* loss:([\d.]+)", said)]
    assert losses and losses[-1] < 0.4


def test_a_finished_run_goes_on(afternoon):
    afternoon.until("lerobot-train --config_path")
    step = afternoon.folder / "runs/vla/checkpoints/last/training_state/training_step.json"
    last = int(SMALLER["--steps=3100"].removeprefix("--steps="))
    assert json.loads(step.read_text())["step"] == last


def test_it_solves_the_task_and_did_not_before_it_was_trained(afternoon, tokens, run, tmp_path):
    """The first of the same starts, driven by the policy as it was before its first step."""
    afternoon.until("lerobot-eval")
    trained = json.loads((afternoon.folder / "runs/eval/eval_info.json").read_text())
    policy = RvqVlaPolicy.from_pretrained(afternoon.folder / "runs/vla" / LAST)
    policy.config.action_tokenizer_name = str(tokens)
    fresh = RvqVlaPolicy(policy.config)
    assert not torch.equal(
        fresh.model.action_head.leave.weight, policy.model.action_head.leave.weight
    )
    untrained = tmp_path / "untrained"
    fresh.save_pretrained(untrained)
    for file in (afternoon.folder / "runs/vla" / LAST).glob("policy_*"):
        (untrained / file.name).write_bytes(file.read_bytes())
    there = f"--policy.path={untrained} --env.type=rvq_sawyer --env.image_size=56".split()
    more = ["--eval.n_episodes=10", "--eval.batch_size=5"]
    run("lerobot-eval", *there, *more, f"--output_dir={tmp_path / 'eval'}")
    before = json.loads((tmp_path / "eval/eval_info.json").read_text())
    assert trained["overall"]["pc_success"] >= 80 > before["overall"]["pc_success"] + 30


def test_what_it_recorded_opens_in_both_libraries(afternoon):
    afternoon.until(RECORD)
    path = afternoon.folder / "my/acted"
    ours, theirs = LeRobotReader(path), LeRobotDataset("local/acted", root=path)
    assert ours.num_episodes == theirs.num_episodes == 2
    assert ours.robot_type == "metaworld_sawyer" and set(ours.tasks.values()) == {
        "Push the drawer shut."
    }
    rows = theirs.hf_dataset.with_format("numpy")[:]
    for name in ("action", "observation.state"):
        read = np.concatenate([ours.episode(i)[name] for i in range(2)])
        np.testing.assert_array_equal(read, np.stack(list(rows[name])))
    assert np.ptp(rows["observation.state"][:, 0]) > 0.01, "the arm did not move"
    assert theirs[0]["observation.images.corner3"].shape == (3, 56, 56)


def test_adapters_are_small_and_merge_into_our_policy(afternoon):
    afternoon.until("lerobot-rvq-policy to-ours")
    base = VLAPolicy.from_pretrained(afternoon.folder / "runs/vla" / LAST / "policy")
    ours = VLAPolicy.from_pretrained(afternoon.folder / "runs/ours")
    adapters = load_file(afternoon.folder / "runs/lora" / LAST / "adapter_model.safetensors")
    count = sum(weight.numel() for weight in adapters.values())
    assert count < 0.2 * sum(p.numel() for p in base.model.parameters())
    before, after = base.model.state_dict(), ours.model.state_dict()
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(".vl.self_attn.q_proj" in name for name in moved)
    assert any(name.startswith("action_head.") for name in moved)
    assert not any("embed_tokens" in name or ".visual." in name for name in moved)


def test_the_adapted_checkpoint_acts_as_the_merged_policy(afternoon):
    """LeRobot's way of loading adapters and our merging of them come to the same."""
    from lerobot.configs.policies import PreTrainedConfig
    from peft import PeftConfig, PeftModel

    afternoon.until("lerobot-rvq-policy to-lerobot")
    path = afternoon.folder / "runs/lora" / LAST
    base = afternoon.folder / PeftConfig.from_pretrained(path).base_model_name_or_path
    config = PreTrainedConfig.from_pretrained(path)
    adapted = PeftModel.from_pretrained(RvqVlaPolicy.from_pretrained(base, config=config), path)
    merged = RvqVlaPolicy.from_pretrained(afternoon.folder / "runs/theirs")
    seen = {
        "observation.state": torch.tensor([[0.1, 0.6, 0.2, 1.0]]),
        "task": ["Push the drawer shut."],
    }
    seen |= {key: torch.rand(1, 3, 56, 56) for key in merged.cameras.values()}
    chunks = []
    for policy in (adapted, merged):
        torch.manual_seed(0)
        chunks.append(policy.predict_action_chunk(seen))
    assert torch.allclose(*chunks, atol=1e-4)


def test_the_tokenizer_for_pi0_fast_is_one(afternoon):
    afternoon.until("lerobot-train-rvq-tokenizer")
    folder = afternoon.folder / "runs/pi0_fast_tokenizer"
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    assert (processor.time_horizon, processor.action_dim) == (20, 4)
