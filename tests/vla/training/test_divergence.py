"""A run that diverges ends, and leaves what it could go on from."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.vla.training.test_train import weights
from vla.cli import main
from vla.losses import LossWeights
from vla.training.callbacks import ResumePoint
from vla.training.divergence import Divergence
from vla.training.lora import LoraSettings
from vla.training.module import VLAModule
from vla.training.optimizers import OptimizerSettings


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def spoil_loss(monkeypatch, at: int, by: float) -> None:
    """The flow loss of one micro-batch is no number in one step, counted from 0."""
    own = VLAModule.losses

    def losses(self, batch, step, micro):
        each = own(self, batch, step, micro)
        return replace(each, flow=each.flow * by) if (step, micro) == (at, 0) else each

    monkeypatch.setattr(VLAModule, "losses", losses)


def spoil_weights(monkeypatch, at: int) -> None:
    """A step leaves a weight that is no number."""
    own = VLAModule.optimizer_step

    def optimizer_step(self, *args, **kwargs):
        step = self.global_step
        own(self, *args, **kwargs)
        if step == at:
            self.model.action_head.leave.weight.data[0, 0] = torch.inf

    monkeypatch.setattr(VLAModule, "optimizer_step", optimizer_step)


def test_a_diverged_step_is_named_and_the_checkpoint_and_policy_before_it_stay(run, monkeypatch):
    with monkeypatch.context() as patched:
        spoil_loss(patched, at=5, by=torch.nan)
        with pytest.raises(FloatingPointError, match=r"step 6: the flow loss is nan.*step 4.*kept"):
            run()
    folder = run()
    assert (folder / "COMPLETE").exists(), "the same command goes on"
    straight = weights(run(name="straight"))
    assert all(torch.equal(w, straight[name]) for name, w in weights(folder).items())


@pytest.mark.parametrize("spoil", ["loss", "weights"])
def test_the_last_step_of_all_is_looked_at_too(run, tmp_path, monkeypatch, spoil):
    if spoil == "loss":
        spoil_loss(monkeypatch, at=7, by=torch.inf)
    else:
        spoil_weights(monkeypatch, at=7)
    with pytest.raises(FloatingPointError, match="step 8: .* inf.*step 6, is kept"):
        run()
    folder = tmp_path / "run"
    assert not (folder / "COMPLETE").exists()
    found = checkpoint(folder)
    assert found["global_step"] == 6
    assert all(w.isfinite().all() for w in found["state_dict"].values())
    assert all(w.isfinite().all() for w in weights(folder).values())


def test_a_term_that_teaches_nothing_may_be_anything(run, monkeypatch):
    spoil_loss(monkeypatch, at=0, by=torch.nan)
    assert (run("--model.weights.flow", "0", "--trainer.max_steps", "1") / "COMPLETE").exists()


def test_a_learning_rate_out_of_all_proportion_is_said_in_one_line(words, tmp_path, capsys):
    rate = ("--model.optimizer.learning_rate", "1e25")
    assert main(["train", *words, "--run_dir", str(tmp_path / "run"), *rate]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rvq-vla train: step 2: ") and "no checkpoint yet" in error
    assert "--model.optimizer.learning_rate" in error
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert not left & {"COMPLETE", "policy"}


@pytest.mark.parametrize("scaler", [None, object()])
def test_a_gradient_too_large_for_float16_is_the_scalers_to_leave_out(policy, tmp_path, scaler):
    module = VLAModule(LossWeights(), OptimizerSettings(), LoraSettings())
    module.model, module.log = policy.model, lambda *_, **__: None
    module.terms = {name: torch.tensor(1.0) for name in asdict(module.weights)}
    trainer = SimpleNamespace(
        precision_plugin=SimpleNamespace(scaler=scaler),
        strategy=SimpleNamespace(reduce=lambda own, reduce_op: own),
        global_step=4,
    )
    guard = Divergence(ResumePoint(tmp_path / "last.ckpt", 1))
    for parameter in policy.model.parameters():
        parameter.grad = torch.full_like(parameter, torch.inf)
    outcome = nullcontext()
    if scaler is None:
        outcome = pytest.raises(FloatingPointError, match="step 5: the norm of the gradient is inf")
    with outcome:
        guard.on_before_optimizer_step(trainer, module, None)
    policy.model.zero_grad()
    module.terms["action_ce"] = torch.tensor(torch.nan)
    with pytest.raises(FloatingPointError, match="step 5: the action_ce loss is nan"):
        guard.on_before_optimizer_step(trainer, module, None)


def test_the_norm_of_the_gradient_is_that_of_the_step_it_is_logged_for(run):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def norms(every: str) -> dict[int, float]:
        folder = run("--trainer.log_every_n_steps", every, "--trainer.max_steps", "4", name=every)
        log = accumulator.EventAccumulator(str(folder / "logs"))
        log.Reload()
        return {event.step: event.value for event in log.Scalars("train/gradient_norm")}

    all_steps, some = norms("1"), norms("2")
    assert sorted(all_steps) == [0, 1, 2, 3] and sorted(some) == [1, 3]
    assert some == {step: all_steps[step] for step in some}
