"""Two processes train one policy, as one process with twice as many micro-batches would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vla.policy import VLAPolicy

SCRIPT = Path(__file__).with_name("two_processes.py")
PLAIN = ("--trainer.max_steps", "3", "--model.optimizer.learning_rate", "0.001")


def in_two(words: list[str], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of two processes, to its end."""
    command = [sys.executable, str(SCRIPT), *words, "--run_dir", str(folder), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def train_in_two(words: list[str], folder: Path, *options: str) -> list[dict[str, torch.Tensor]]:
    """The weights that each of two processes ends with."""
    done = in_two(words, folder, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "COMPLETE").is_file()
    return [torch.load(folder / f"rank-{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize(
    ("strategy", "optimizer", "aside"),
    [("ddp", "adamw", 0.02), ("fsdp2", "adamw", 0.02), ("fsdp2", "muon", 0.2)],
)
def test_two_processes_end_where_one_would(run, words, tmp_path, strategy, optimizer, aside):
    """But for a small share of the way that weights went.

    Muon works in bfloat16, and in small gradients raises what rounding left of them; on parts of a
    matrix instead of the whole it would end up farther aside than that.
    """
    name = ("--model.optimizer.name", optimizer)
    spread = ("--trainer.devices", "2", "--trainer.strategy", strategy, "--data.accumulation", "1")
    one, other = train_in_two(words, tmp_path / "two", *PLAIN, *name, *spread)
    alone = run(*PLAIN, *name, name="alone")
    checkpoint = torch.load(alone / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    begin = run(*PLAIN, "--model.optimizer.learning_rate", "1e-12", name="begin")
    begin = VLAPolicy.from_pretrained(begin / "policy").model.state_dict()
    for key, weight in one.items():
        assert torch.equal(weight, other[key]), key
        expected = checkpoint[f"model.{key}"]
        way = (expected - begin[key]).abs().mean()
        assert (weight - expected).abs().mean() < aside * way + 1e-7, key
    shipped, wanted = (
        VLAPolicy.from_pretrained(tmp_path / name / "policy").model.state_dict()
        for name in ("two", "alone")
    )
    for key, weight in wanted.items():
        way = (weight - begin[key]).abs().mean()
        assert (shipped[key] - weight).abs().mean() < aside * way + 1e-7, key


def test_processes_wait_for_no_term_that_one_of_them_lacks(words, tmp_path):
    """One sample each: now and then one process has a conversation, the other a robot."""
    options = ("--data.batch_size", "1", "--data.accumulation", "1", "--trainer.max_steps", "7")
    spread = ("--trainer.devices", "2", "--trainer.strategy", "fsdp2")
    one, other = train_in_two(words, tmp_path / "two", *options, *spread)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_sharded_weights_go_on_where_they_stopped(words, tmp_path):
    """A run that lost its last two steps."""
    spread = ("--trainer.devices", "2", "--trainer.strategy", "fsdp2", "--trainer.max_steps", "4")
    straight = train_in_two(words, tmp_path / "run", *spread, "--checkpoint_every_n_steps", "2")
    folder = tmp_path / "run"
    shutil.copytree(folder / "earlier", folder / "checkpoints", dirs_exist_ok=True)
    shutil.rmtree(folder / "earlier")
    (folder / "COMPLETE").unlink()
    again = train_in_two(words, folder, *spread)
    assert [n for n in again[0] if not torch.equal(again[0][n], straight[0][n])] == []


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_processes_end_together_where_they_diverge(words, tmp_path, strategy):
    """None waits for one that has ended."""
    options = ("--data.batch_size", "1", "--data.accumulation", "1", "--trainer.max_steps", "4")
    spread = ("--trainer.devices", "2", "--trainer.strategy", strategy)
    rate = ("--model.optimizer.learning_rate", "1e25")
    done = in_two(words, tmp_path / "two", *options, *spread, *rate)
    assert done.returncode and "FloatingPointError: step 2: the " in done.stderr
    assert not (tmp_path / "two" / "COMPLETE").exists()
