"""A killed run goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.vla.training.test_train import weights

TRAIN = "import sys; from vla.cli import main; sys.exit(main(sys.argv[1:]))"
MANY = ("--trainer.max_steps", "40", "--gradients_every_n_steps", "10")


@pytest.mark.parametrize("more", [(), ("--model.lora.rank", "2", "--model.lora.dropout", "0.1")])
def test_a_killed_run_resumes_to_the_same_bits(run, words, tmp_path, more):
    folder = tmp_path / "killed"
    options = [*words, *MANY, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", TRAIN, "train", *options, "--run_dir", str(folder)]
    process = subprocess.Popen(command, env=environment)
    while not (folder / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "COMPLETE").exists()
    stopped = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < stopped < 40
    run(*MANY, *more, "--resume", "must", name="killed")
    run(*MANY, *more, name="straight")
    one, other = weights(folder), weights(tmp_path / "straight")
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    seen = [(path / "gradients.jsonl").read_text() for path in (folder, tmp_path / "straight")]
    assert seen[0] == seen[1]
