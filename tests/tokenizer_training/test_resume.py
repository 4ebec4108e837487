"""A killed run goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.windows import Windows
from tests.tokenizer_training.conftest import TINY
from tokenizer_training.export import export_checkpoint, read_checkpoint
from tokenizer_training.module import TokenizerModule

STEPS = ("--trainer.max_steps", "48", "--model.learning_rate", "0.003")
FIT = "import sys; from tokenizer_training.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def killed(dataset, tmp_path) -> Path:
    """The folder of a run that was killed after its first checkpoint."""
    folder = tmp_path / "killed"
    words = ["fit", "--config", str(TINY), "--data.datasets", str(dataset), *STEPS]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        [sys.executable, "-c", FIT, *words, "--run_dir", str(folder)], env=environment
    )
    while not (folder / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "COMPLETE").exists()
    return folder


def test_a_killed_run_resumes_to_the_same_bits(fit_tiny, killed, dataset, tmp_path):
    stopped_at = read_checkpoint(killed / "checkpoints" / "last.ckpt").metadata["steps"]
    assert 0 < stopped_at < 48
    resumed, straight = fit_tiny(*STEPS, name="killed"), fit_tiny(*STEPS, name="straight")
    exported = [
        export_checkpoint(folder, tmp_path / f"exported-{folder.name}")
        for folder in (resumed, straight)
    ]
    assert [tok.metadata["steps"] for tok in exported] == [48, 48]
    one, other = (tok.model.state_dict() for tok in exported)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []

    chunk = Windows(RobotDataset.open(dataset).episodes, 10).chunk(slice(None))
    for pair in (
        ("exported-killed", "exported-straight"),
        ("killed/tokenizer", "straight/tokenizer"),
    ):
        codes = [
            ActionTokenizer.from_pretrained(tmp_path / name).encode(chunk.actions, chunk.anchor)
            for name in pair
        ]
        assert torch.equal(*codes)


class Killed(BaseException):
    """Nobody catches it."""


def test_a_run_with_pictures_killed_twice_resumes_to_the_same_bits(fit_seen, monkeypatch):
    """Before masked modelling sets in, and after; semantic codes move between the checkpoints."""
    options = ("--trainer.max_steps", "20", "--model.masked_modelling_start", "0.5")
    options += ("--semantic.every_n_steps", "3", "--model.learning_rate", "0.003")
    original = TokenizerModule.training_step

    def kill_at(number: int) -> None:
        def step(self, *args):
            if self.global_step == number:
                raise Killed
            return original(self, *args)

        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(TokenizerModule, "training_step", step)
            fit_seen(*options, name="killed")

    def saved(folder: Path) -> dict[str, torch.Tensor]:
        file = folder / "checkpoints" / "last.ckpt"
        return torch.load(file, weights_only=True)["state_dict"]

    straight = saved(fit_seen(*options, name="straight"))
    for number in (7, 15):
        kill_at(number)
        torch.rand(3)
    resumed = saved(fit_seen(*options, name="killed"))
    parts = ("model.semantic", "heads", "masked_modelling", "average")
    assert all(any(name.startswith(part) for name in straight) for part in parts)
    assert [name for name in straight if not torch.equal(straight[name], resumed[name])] == []


def test_a_run_killed_before_its_first_checkpoint_trains_from_its_closed_form(fit_tiny):
    folder = fit_tiny()
    for leftover in ("COMPLETE", "checkpoints/last.ckpt"):
        (folder / leftover).unlink()
    best = (folder / "tokenizer" / "model.safetensors").read_bytes()
    fit_tiny()
    assert (folder / "COMPLETE").is_file()
    assert (folder / "tokenizer" / "model.safetensors").read_bytes() == best


def test_export_refuses_what_is_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        export_checkpoint(tmp_path, tmp_path / "out")
    (tmp_path / "torn.ckpt").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(ValueError, match="damaged"):
        export_checkpoint(tmp_path / "torn.ckpt", tmp_path / "out")
    for foreign in ({"weights": torch.ones(2)}, torch.ones(2)):
        torch.save(foreign, tmp_path / "foreign.ckpt")
        with pytest.raises(ValueError, match="no checkpoint of `rvq-train fit`; its"):
            export_checkpoint(tmp_path / "foreign.ckpt", tmp_path / "out")
    for text in ("# Title\n", "trainer:\n  max_steps: 1\n", ""):
        (tmp_path / "notes").write_text(text)
        with pytest.raises(ValueError, match="no checkpoint of `rvq-train fit`. Give") as raised:
            export_checkpoint(tmp_path / "notes", tmp_path / "out")
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
