"""Ends a run that has diverged, while there is something to go on from."""

from __future__ import annotations

from dataclasses import asdict

import torch
from lightning import LightningModule, Trainer

from rvq_action.housekeeping.divergence import check_finite, global_norm
from vla.training.callbacks import ResumePoint, StepCallback
from vla.training.module import VLAModule

RATE = "--model.optimizer.learning_rate"


class Divergence(StepCallback):
    """Looks at every step's terms, gradient and weights; comes before what writes any of them.

    Processes find the same numbers, so that none of them waits for one that has ended.

    Args:
        kept: Writes the checkpoint that a run which ends here leaves.
    """

    def __init__(self, kept: ResumePoint) -> None:
        super().__init__(every_n_steps=1)
        self.kept = kept

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log the norm of the gradient before it is clipped, and look at it and the terms.

        Where gradients are scaled, a scaler leaves out a step whose gradient is too large for
        float16, and goes on with a smaller scale.
        """
        assert isinstance(pl_module, VLAModule)
        norm = global_norm(p.grad for p in pl_module.model.parameters())
        pl_module.log("train/gradient_norm", norm, batch_size=1)
        used = [name for name, weight in asdict(pl_module.weights).items() if weight]
        own = torch.stack([pl_module.terms[name] for name in used])
        terms = trainer.strategy.reduce(own, reduce_op="sum")
        found = {f"{name} loss": term for name, term in zip(used, terms, strict=True)}
        if getattr(trainer.precision_plugin, "scaler", None) is None:
            found["norm of the gradient"] = norm
        check_finite(trainer.global_step + 1, found, self.kept.step, RATE)

    def act(self, trainer: Trainer, module: VLAModule) -> None:
        """Look at the weights as the step left them."""
        trained = (p.detach() for p in module.model.parameters() if p.requires_grad)
        found = {"largest weight": global_norm(trained, torch.inf)}
        check_finite(trainer.global_step, found, self.kept.step, RATE)
