"""What the progress bar says."""

from __future__ import annotations

import re

import pytest

from tests.tokenizer_training.conftest import SLOTS
from tokenizer_training.callbacks import BestTokenizer, ResumePoint

BAR = ("--trainer.enable_progress_bar", "true")


@pytest.fixture
def looks(monkeypatch) -> list[float]:
    """The score of every look at the validation windows."""
    found: list[float] = []
    look = BestTokenizer._look

    def spy(self, *args):
        look(self, *args)
        found.append(self.latest.score)

    monkeypatch.setattr(BestTokenizer, "_look", spy)
    return found


def last_state(printed: str) -> str:
    return [state for state in printed.split("\r") if state.strip()][-1]


def test_the_bar_ends_on_the_last_look(fit_tiny, looks, capsys):
    fit_tiny(*BAR, "--model.learning_rate", "0.1", "--model.warmup_steps", "0")
    state = last_state(capsys.readouterr().out)
    assert state.startswith("training: 100%") and "8/8" in state
    shown = [f"{score:.3g}" for score in looks]
    assert f"validation_mse={shown[-1]}" in state and shown[-1] != shown[0]


def test_a_score_is_told_from_an_error(fit_tiny, seen, looks, capsys):
    aligned = ("--data.features", str(seen[1]), "--model.weights.alignment", "0.5")
    fit_tiny(*BAR, *SLOTS, *aligned, data=seen[0])
    state = last_state(capsys.readouterr().out)
    assert f"validation_score={looks[-1]:.3g}" in state and "validation_mse" not in state


def test_a_resumed_bar_goes_on_with_its_own_rate(fit_tiny, monkeypatch, capsys):
    write = ResumePoint.on_train_batch_end

    def mortal(self, trainer, *args, **kwargs):
        write(self, trainer, *args, **kwargs)
        if trainer.global_step == 4:
            raise ZeroDivisionError

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(ResumePoint, "on_train_batch_end", mortal)
        fit_tiny(*BAR)
    capsys.readouterr()
    bars = []
    start = BestTokenizer.on_train_start

    def keep(self, trainer, *args):
        start(self, trainer, *args)
        bars.append(trainer.progress_bar_callback.train_progress_bar)

    monkeypatch.setattr(BestTokenizer, "on_train_start", keep)
    fit_tiny(*BAR)
    printed = capsys.readouterr().out
    assert re.search(r"training:\s+50%.* 4/8 ", printed) and "8/8" in last_state(printed)
    assert (bars[0].initial, bars[0].n, bars[0].total) == (4, 8, 8)
