"""What happens beside the steps: being able to go on, and a policy to try early."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from vla.training.export import shipped_weights
from vla.training.module import VLAModule


def log_all(trainer: Trainer, values: Mapping[str, float]) -> None:
    """Log figures of this step wherever logs go."""
    for log in trainer.loggers:
        log.log_metrics(dict(values), step=trainer.global_step)


class StepCallback(Callback):
    """Acts when an optimizer step is done: every so many steps, and at the last one.

    Args:
        every_n_steps: Steps between two times; 0 acts at the last one only.
    """

    def __init__(self, every_n_steps: int) -> None:
        if every_n_steps < 0:
            raise ValueError(f"every_n_steps must be 0 (at the end) or more, got {every_n_steps}.")
        self.every_n_steps = every_n_steps

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        assert isinstance(pl_module, VLAModule)
        step, accumulation = trainer.global_step, pl_module.plan.accumulation
        due = self.every_n_steps and step % self.every_n_steps == 0
        if (batch_idx + 1) % accumulation == 0 and (due or step == trainer.max_steps):
            self.act(trainer, pl_module)

    def act(self, trainer: Trainer, module: VLAModule) -> None:
        raise NotImplementedError


class Speed(StepCallback):
    """Logs the steps per second since it looked last, pauses included."""

    def __init__(self, every_n_steps: int) -> None:
        super().__init__(every_n_steps)
        self._last = (0, 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last = (trainer.global_step, time.monotonic())

    def act(self, trainer: Trainer, module: VLAModule) -> None:
        step, now = trainer.global_step, time.monotonic()
        before, then = self._last
        if step > before and trainer.is_global_zero:
            log_all(trainer, {"train/steps_per_second": (step - before) / (now - then)})
        self._last = (step, now)


class ResumePoint(StepCallback):
    """Writes the checkpoint that a killed run goes on from, whole or not at all.

    Args:
        path: The checkpoint.
        every_n_steps: Steps between two.

    Attributes:
        step: Of the checkpoint; 0 where there is none.
    """

    def __init__(self, path: Path, every_n_steps: int) -> None:
        super().__init__(every_n_steps)
        self.path, self.step = path, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.step = trainer.global_step

    def act(self, trainer: Trainer, module: VLAModule) -> None:
        partial = self.path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            os.replace(partial, self.path)
        self.step = trainer.global_step


class PolicyExport(StepCallback):
    """Writes the policy as it is now.

    Args:
        path: Its folder.
        every_n_steps: Steps between two times.
    """

    def __init__(self, path: Path, every_n_steps: int) -> None:
        super().__init__(every_n_steps)
        self.path = path

    def act(self, trainer: Trainer, module: VLAModule) -> None:
        weights = shipped_weights(module.model, module.average, module.shipped_dtype)
        if trainer.is_global_zero:
            module.policy.save_pretrained(self.folder(trainer.global_step), weights=weights)

    def folder(self, step: int) -> Path:
        """Where the policy of a step goes."""
        return self.path


class KeptPolicies(PolicyExport):
    """Keeps the policy as it was on the way, a folder for each, below `path`."""

    def folder(self, step: int) -> Path:
        return self.path / f"step-{step:06d}"
