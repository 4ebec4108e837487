"""A run that diverges ends, and leaves the best tokenizer and what it could go on from."""

from __future__ import annotations

import pytest
import torch

from rvq_action import ActionTokenizer
from tests.tokenizer_training.conftest import TINY
from tokenizer_training.cli import main
from tokenizer_training.module import TokenizerModule


def spoil(monkeypatch, what: str, at: int) -> None:
    """A step, counted from 0, makes a loss or a weight that is no number."""
    own = getattr(TokenizerModule, what)

    def training_step(self, *args):
        total = own(self, *args)
        if self.global_step == at:
            self.terms["dct"] = self.terms["dct"] * torch.nan
            return total * torch.nan
        return total

    def optimizer_step(self, *args, **kwargs):
        step = self.global_step
        own(self, *args, **kwargs)
        if step == at:
            next(self.model.decoder.parameters()).data.view(-1)[0] = torch.inf

    monkeypatch.setattr(TokenizerModule, what, locals()[what])


@pytest.mark.parametrize(
    ("what", "found"), [("training_step", "dct loss is nan"), ("optimizer_step", "weight is inf")]
)
def test_the_last_checkpoint_stays_and_the_same_command_goes_on(
    fit_tiny, tmp_path, monkeypatch, what, found
):
    with monkeypatch.context() as patched:
        spoil(patched, what, at=7)
        with pytest.raises(FloatingPointError, match=f"step 8: the .*{found}.*of step 4, is kept"):
            fit_tiny()
    folder = tmp_path / "run"
    assert not (folder / "COMPLETE").exists()
    kept = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 4
    assert all(weight.isfinite().all() for weight in kept["state_dict"].values())
    ActionTokenizer.from_pretrained(folder / "tokenizer")
    assert (fit_tiny() / "COMPLETE").exists()


def test_a_learning_rate_out_of_all_proportion_is_said_in_one_line(dataset, tmp_path, capsys):
    folder = tmp_path / "run"
    words = ["fit", "--config", str(TINY), "--data.datasets", str(dataset), "--run_dir"]
    rate = ("--model.learning_rate", "1e25", "--model.warmup_steps", "0")
    assert main([*words, str(folder), *rate]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rvq-train fit: step 2: ") and "no checkpoint yet" in error
    assert "Lower --model.learning_rate" in error
    assert not (folder / "COMPLETE").exists()
    assert ActionTokenizer.from_pretrained(folder / "tokenizer").metadata["steps"] == 0
