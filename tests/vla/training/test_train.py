"""`rvq-vla train`: what a run leaves, and what it refuses before the first step."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from rvq_action.data import RobotDataset
from vla.cli import main
from vla.policy import VLAPolicy
from vla.training.train_cli import WORDS, TrainCLI


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return VLAPolicy.from_pretrained(folder / "policy").model.state_dict()


def test_a_run_leaves_a_policy_and_says_that_it_is_complete(run):
    folder = run()
    assert (folder / "COMPLETE").read_text() == "8 steps\n"
    assert "warmup_steps: 2" in (folder / "config.yaml").read_text()
    policy = VLAPolicy.from_pretrained(folder / "policy")
    assert policy.config.cameras == {"test_arm": ("front",)}
    rows = [json.loads(line) for line in (folder / "gradients.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 4]
    for row in rows:
        assert set(row["shares"]) == {"flow", "action_ce", "multimodal_ce"}
        assert sum(row["shares"].values()) == pytest.approx(1)
        assert len(row["cosines"]) == 3 and all(abs(c) <= 1.0001 for c in row["cosines"].values())


def test_the_same_command_again_changes_nothing(run):
    folder = run()
    before = {f: f.stat().st_mtime_ns for f in folder.rglob("*.safetensors")}
    run()
    assert {f: f.stat().st_mtime_ns for f in folder.rglob("*.safetensors")} == before


def test_the_exported_policy_is_the_average(run):
    averaged, plain = weights(run(name="one")), weights(run("--model.average", "0", name="other"))
    assert any(not torch.equal(averaged[name], plain[name]) for name in averaged)


def test_policies_are_kept_on_the_way(run):
    """The last of them is the policy; a run that keeps none has the same result."""
    folder, plain = run("--keep_policy_every_n_steps", "3"), run(name="plain")
    kept = sorted(path.name for path in (folder / "policies").iterdir())
    assert kept == ["step-000003", "step-000006", "step-000008"]
    first, last = (VLAPolicy.from_pretrained(folder / "policies" / kept[i]) for i in (0, -1))
    final = weights(plain)
    assert all(torch.equal(w, final[name]) for name, w in last.model.state_dict().items())
    assert any(not torch.equal(w, final[name]) for name, w in first.model.state_dict().items())
    assert not (plain / "policies").exists()


def test_a_config_of_what_ran_runs_again_to_the_same_bits(run, tmp_path):
    first = run()
    again = ["--config", str(first / "config.yaml"), "--run_dir", str(tmp_path / "b")]
    assert main(["train", *again]) == 0
    one, other = weights(first), weights(tmp_path / "b")
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("name", sorted(WORDS.packaged))
def test_every_packaged_configuration_is_understood(name, words, tmp_path):
    here = {"max_steps": "1", "accelerator": "cpu", "strategy": "auto", "devices": "1"}
    options = [f"--trainer.{key}={value}" for key, value in here.items()]
    cli = TrainCLI([*words[2:], "--config", name, "--run_dir", str(tmp_path), *options])
    run = cli.run_settings()
    assert run.data.datasets and cli.trainer.accumulate_grad_batches == run.data.accumulation


MIXED = ("--trainer.precision", "bf16-mixed")
WRONG = [
    (["--model.lora.rank", "2", "--vla.dtype", "bfloat16"], "--trainer.precision bf16-mixed"),
    (["--trainer.max_steps", "0"], "Give --trainer.max_steps"),
    (["--config", "tinny"], "there are"),
    (["--data.datasets"], "No dataset"),
    (["--data.datasets", "nowhere"], "nowhere"),
    (["--vla.cameras", "wrist"], "has no camera ['wrist']; it has ['front']"),
    (["--tokenizer", "nowhere"], "nowhere"),
    (["--policy", "nowhere"], "nowhere"),
    (["--vla.config", "huge"], "no configuration 'huge'"),
    (["--vla.image_size", "50"], "image_size 50"),
    (["--data.conversations", "{broken}"], "there is no picture"),
    (["--data.conversations", "none.json"], "no file none.json"),
    (["--resume", "must"], "no run to go on with"),
    (["--model.flow_draws", "0"], "flow_draws must be at least 1"),
    (["--model.average", "1"], "average's decay"),
    (["--model.lora.rank", "2", "--model.lora.vl_expert", "false"], "LoRA on nothing"),
    (["--trainer.precision", "bf16-true"], "--vla.dtype bfloat16"),
    (["--model.lora.rank", "2", "--trainer.strategy", "fsdp2"], "--model.lora.vocabulary false"),
]


@pytest.mark.parametrize(("extra", "message"), WRONG)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_left(
    words, tmp_path, extra, message, capsys
):
    broken = tmp_path / "broken.jsonl"
    said = [{"from": "human", "value": "<image>what?"}, {"from": "gpt", "value": "a cube"}]
    broken.write_text(json.dumps({"image": "gone.png", "conversations": said}) + "\n")
    before = sorted(tmp_path.rglob("*"))
    extra = [word.format(broken=broken) for word in extra]
    assert main(["train", *words, "--run_dir", str(tmp_path / "runs" / "mine"), *extra]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rvq-vla train: ") and message in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed")
def test_a_log_that_cannot_be_kept_is_said_so_before_the_first_step(words, tmp_path, capsys):
    folder = tmp_path / "runs" / "mine"
    assert main(["train", *words, "--run_dir", str(folder), "--wandb", "robots"]) == 1
    assert "pip install wandb" in capsys.readouterr().err and not folder.exists()


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        (("--vla.dtype", "bfloat16", "--model.gradient_checkpointing", "true"), torch.bfloat16),
        (MIXED, torch.float32),
        ((*MIXED, "--vla.dtype", "bfloat16", "--model.lora.rank", "2"), torch.bfloat16),
    ],
)
def test_all_ways_to_bfloat16_train(run, options, dtype):
    folder = run(*options, "--trainer.max_steps", "2")
    policy = VLAPolicy.from_pretrained(folder / "policy")
    assert {p.dtype for p in policy.model.mot.parameters()} == {dtype}
    assert policy.model.action_head.leave.weight.dtype == torch.float32
    assert all(t.isfinite().all() for t in policy.model.state_dict().values())
    picture = np.zeros((policy.config.image_size,) * 2 + (3,), np.uint8)
    moved = policy.generate_flow_action({"front": picture}, np.zeros(3, np.float32), "go", 10)
    assert moved.shape == (10, 3)


def test_a_run_with_other_settings_is_not_gone_on_with(run, capsys):
    run()
    with pytest.raises(ValueError, match="other settings.*learning_rate"):
        run("--model.optimizer.learning_rate", "0.5")


def test_a_run_is_not_gone_on_with_by_an_edited_mapping(run, recordings, tmp_path):
    file, mapping = tmp_path / "mine.yaml", RobotDataset.open(recordings).mapping.to_dict()
    words = ("--data.mapping", str(file), "--trainer.max_steps", "2")
    file.write_text(yaml.safe_dump(mapping))
    run(*words)
    for section in ("action", "proprio"):
        (term,) = mapping[section].values()
        term["scale"] = [2.0]
    file.write_text(yaml.safe_dump(mapping))
    with pytest.raises(ValueError, match=r"mappings.go_stop.action.*scale: None -> \[2.0\]"):
        run(*words)


def test_help_tells_every_option(capsys):
    with pytest.raises(SystemExit) as left:
        main(["train", "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"--{name}" in shown for name in ("tokenizer", "model.lora.rank", "data.datasets"))
