"""Ends a run that has diverged, while there is something to go on from."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from rvq_action.housekeeping.divergence import check_finite, global_norm
from tokenizer_training.callbacks import ResumePoint
from tokenizer_training.module import TokenizerModule

RATE = "--model.learning_rate"


class Divergence(Callback):
    """Looks at every step's terms, gradient and weights; comes before what writes any of them.

    Processes find the same numbers, so that none of them waits for one that has ended.

    Args:
        kept: Writes the checkpoint that a run which ends here leaves.
    """

    def __init__(self, kept: ResumePoint) -> None:
        self.kept = kept

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Look at the terms and the gradient; what is too large for float16 a scaler sees to."""
        assert isinstance(pl_module, TokenizerModule)
        used = [name for name in pl_module.terms if getattr(pl_module.weights, name)]
        own = torch.stack([pl_module.terms[name] for name in used])
        terms = trainer.strategy.reduce(own, reduce_op="mean")
        found = {f"{name} loss": term for name, term in zip(used, terms, strict=True)}
        if getattr(trainer.precision_plugin, "scaler", None) is None:
            found["norm of the gradient"] = global_norm(p.grad for p in pl_module.parameters())
        check_finite(trainer.global_step + 1, found, self.kept.step, RATE)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Look at the weights as the step left them."""
        trained = (p.detach() for p in pl_module.parameters() if p.requires_grad)
        found = {"largest weight": global_norm(trained, torch.inf)}
        check_finite(trainer.global_step, found, self.kept.step, RATE)
