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


def test_codebooks_of_two_processes_stay_equal(dataset, tmp_path):
    words = [
        "--config",
        str(TINY),
        "--data.datasets",
        str(dataset),
        "--run_dir",
        str(tmp_path / "run"),
    ]
    words += [f"--trainer.{key}={value}" for key, value in DDP.items()]
    words += ["--model.codebook_every_n_steps", "1", "--model.encoder_rate", "0.5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / "run" / f"rank-{rank}.pt") for rank in (0, 1))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert (tmp_path / "run" / "COMPLETE").is_file()
