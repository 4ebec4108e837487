"""Looks at the terms' gradients while a policy is trained, see `vla.training.gradients`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from vla.data.plan import BatchPlan
from vla.losses import Losses
from vla.model import is_vl
from vla.sequence import Batch
from vla.training.callbacks import log_all
from vla.training.gradients import Gradients, compare_gradients, read_rows
from vla.training.module import VLAModule


def telling_batch(plan: BatchPlan, step: int, every_n_steps: int) -> int | None:
    """The micro-batch of a step that is looked at; None where the step is not.

    Every so many steps it is the next one that holds robots and conversations, so that all terms
    can be compared; where there are no conversations it is the first.
    """
    plan, since = replace(plan, rank=0), step - step % every_n_steps
    for number in range(since, step + 1):
        for micro in range(plan.accumulation):
            kinds = {place.robot for place in plan.places(number, micro)}
            if len(kinds) == 2 or not plan.others:
                return micro if number == step else None
    return None


class GradientBridge(Callback):
    """Looks at the gradients before a micro-batch, and writes what it sees.

    Args:
        path: JSON lines are appended to it.
        every_n_steps: Steps between two looks; 0 never looks.
    """

    def __init__(self, path: Path, every_n_steps: int) -> None:
        if every_n_steps < 0:
            raise ValueError(f"gradients_every_n_steps starts at 0 (never): {every_n_steps}.")
        self.path, self.every_n_steps = path, every_n_steps

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, VLAModule)
        plan, step = pl_module.plan, trainer.global_step
        micro = batch_idx % plan.accumulation
        if not self.every_n_steps or micro != telling_batch(plan, step, self.every_n_steps):
            return
        with trainer.precision_plugin.train_step_context():
            found = look(pl_module, batch, step, micro)
        if trainer.is_global_zero:
            self._write(found)
            shown = {f"gradients/{n}_share": share for n, share in found.shares.items()}
            shown |= {f"gradients/{pair}": cosine for pair, cosine in found.cosines.items()}
            log_all(trainer, shown)

    def _write(self, found: Gradients) -> None:
        """Append; a run that goes on from an earlier step forgets what came behind it."""
        rows = read_rows(self.path) if self.path.is_file() else []
        rows = [row for row in rows if row["step"] < found.step] + [asdict(found)]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def look(module: VLAModule, batch: Batch, step: int, micro: int) -> Gradients:
    """The terms' gradients on a micro-batch; the network's own are as they were afterwards."""
    own = [(p, p.grad) for p in module.model.parameters()]
    named = module.model.named_parameters()
    parameters = [p for name, p in named if is_vl(name) and p.requires_grad]
    sharded = any(hasattr(p, "full_tensor") for p in parameters)
    weights = {name: weight for name, weight in asdict(module.weights).items() if weight}
    gradients: dict[str, list[Tensor | None]] = {}
    losses: Losses | None = None
    for name, weight in weights.items():
        if losses is None or sharded:  # sharded weights are gathered for one backward pass only
            losses = module.losses(batch, step, micro).mean()
        term = weight * getattr(losses, name)
        if sharded:
            module.zero_grad(set_to_none=True)
            term.backward()
            gradients[name] = [p.grad for p in parameters]
            module.zero_grad(set_to_none=True)
        elif term.requires_grad:
            keep = name != list(weights)[-1]
            found = torch.autograd.grad(term, parameters, retain_graph=keep, allow_unused=True)
            gradients[name] = list(found)
    for parameter, gradient in own:
        parameter.grad = gradient
    return compare_gradients(step, gradients)
