"""What a training step changes, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rvq_action import ActionTokenizer
from tokenizer_training.export import read_checkpoint


@pytest.fixture
def changed(fit_tiny):
    """Names of the tensors that a run changes between its closed form and its last step."""

    def run(*options: str) -> set[str]:
        folder = fit_tiny("--model.learning_rate", "0.01", *options)
        before = ActionTokenizer.from_pretrained(folder / "closed_form").model.state_dict()
        after = read_checkpoint(folder / "checkpoints" / "last.ckpt").model.state_dict()
        return {name for name in before if not torch.equal(before[name], after[name])}

    return run


def parts(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_with_everything_on_everything_moves(changed):
    names = changed("--model.encoder_rate", "1", "--model.codebook_every_n_steps", "1")
    assert parts(names) == {"encoder", "quantizer", "decoder"}


def test_a_frozen_encoder_and_frozen_codebooks_stay(changed):
    names = changed("--model.encoder_rate", "0", "--model.codebook_every_n_steps", "0")
    assert parts(names) == {"decoder"}


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ((), False),
        (("--model.weights.commitment", "0.1"), True),
        (("--model.weights.commitment", "0.1", "--model.encoder_rate", "1"), False),
        (("--model.weights.commitment", "0.1", "--closed_form.semantic_slots", "1"), False),
    ],
)
def test_a_commitment_that_reaches_nothing_is_said_once(fit_tiny, caplog, options, idle):
    fit_tiny(*options)
    found = [r.getMessage() for r in caplog.records if "commitment" in r.getMessage()]
    assert len(found) == idle
    assert not idle or "--model.weights.commitment 0.1 changes nothing" in found[0]


def test_codebooks_move_at_their_interval(changed):
    """With an interval beyond the run's end only the first step moves them."""
    options = ("--model.encoder_rate", "0", "--model.averaging", "0.5")
    assert "quantizer" in parts(changed(*options, "--model.codebook_every_n_steps", "100"))


def test_errors_are_measured_in_units_of_what_a_prefix_leaves(fit_tiny, monkeypatch):
    """The unit of a sample is that of its number of tokens; without balance all are alike."""
    from tokenizer_training.module import TokenizerModule

    seen = []
    original = TokenizerModule._unit

    def spy(self, embodiment, keep):
        unit = original(self, embodiment, keep)
        tokens = keep.flatten(1).sum(-1)
        expected = self.usual_errors[embodiment][tokens - 1].sqrt() ** self.balance
        seen.append(torch.equal(unit.flatten(), expected))
        assert (self.balance > 0) == (unit.unique().numel() > 1)
        return unit

    monkeypatch.setattr(TokenizerModule, "_unit", spy)
    fit_tiny("--model.balance", "1", name="balanced")
    fit_tiny("--model.balance", "0", name="plain")
    assert len(seen) == 16 and all(seen)


def test_networks_that_never_see_the_anchor_are_blind_to_it(fit_tiny):
    options = ("--closed_form.semantic_slots", "1", "--model.dropout.anchor", "1")
    tokenizer = read_checkpoint(fit_tiny(*options) / "checkpoints" / "last.ckpt")
    actions, anchor = torch.rand(8, 10, 3), torch.rand(8, 3)
    codes = [
        tokenizer.encode(actions + shift, proprio=anchor + shift, fps=10) for shift in (0.0, 0.3)
    ]
    assert torch.equal(*codes)


def test_masked_modelling_is_absent_until_it_sets_in(fit_tiny, monkeypatch):
    """From half of 8 steps on it is part of the total, and its head learns."""
    from tokenizer_training.module import TokenizerModule

    present, learning = [], []
    original = TokenizerModule.training_step

    def step(self, batch, number):
        total = original(self, batch, number)
        others = replace(self.weights, masked_modelling=0.0).total(self.terms)
        share = self.weights.masked_modelling * self.terms["masked_modelling"]
        torch.testing.assert_close(total.detach(), others + share)
        present.append(total.item() > others.item())
        return total

    def gradients(self, optimizer):
        learning.append(any(p.grad is not None for p in self.masked_modelling.parameters()))

    monkeypatch.setattr(TokenizerModule, "training_step", step)
    monkeypatch.setattr(TokenizerModule, "on_before_optimizer_step", gradients)
    options = ("--model.weights.masked_modelling", "1", "--closed_form.semantic_slots", "1")
    fit_tiny(*options, "--model.masked_modelling_start", "0.5")
    assert present == learning == [False] * 4 + [True] * 4
