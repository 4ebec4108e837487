"""Two processes train one tokenizer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.tokenizer_training.conftest import TINY

SCRIPT = Path(__file__).with_name("two_processes.py")
DDP = {"accelerator": "cpu", "devices": "2", "strategy": "ddp", "max_steps": "4"}


def train(data: list[Path], folder: Path, *options: str) -> tuple[dict, dict]:
    """The weights that each of two processes ends with."""
    words = ["--config", str(TINY), "--data.datasets", *map(str, data), "--run_dir", str(folder)]
    words += [f"--trainer.{key}={value}" for key, value in DDP.items()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *words, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "COMPLETE").is_file()
    return tuple(torch.load(folder / f"rank-{rank}.pt") for rank in (0, 1))


def differing(first: dict, second: dict) -> list[str]:
    return [name for name in first if not torch.equal(first[name], second[name])]


def test_codebooks_of_two_processes_stay_equal(dataset, tmp_path):
    options = ("--model.codebook_every_n_steps", "1", "--model.encoder_rate", "0.5")
    assert differing(*train([dataset], tmp_path / "run", *options)) == []
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt")["callbacks"]["ResumePoint"]
    first, second = (states["torch"] for states in saved["processes"])
    assert not torch.equal(first, second)


def test_semantic_codebooks_stay_equal_where_not_every_batch_has_pictures(dataset, seen, tmp_path):
    """Batches of two samples from two datasets, one of them blind; late masked modelling."""
    data, cache = seen
    options = ["--data.features", str(cache), "--data.batch_size", "2"]
    options += ["--closed_form.semantic_slots", "2", "--closed_form.semantic_width", "4"]
    options += ["--semantic.every_n_steps", "2", "--model.masked_modelling_start", "0.5"]
    terms = ("alignment", "next_frame", "masked_modelling")
    options += [f"--model.weights.{term}=0.5" for term in terms]
    assert differing(*train([dataset, data], tmp_path / "run", *options)) == []
