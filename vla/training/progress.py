"""A progress bar over the steps of the whole run."""

from __future__ import annotations

import sys
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm


class StepProgress(TQDMProgressBar):
    """Steps done, this process's rate, and the terms as they were logged last."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=5)

    def init_train_tqdm(self) -> Tqdm:
        """A bar that begins where this process does."""
        trainer = self.trainer
        return Tqdm(
            desc="policy",
            total=trainer.max_steps,
            initial=trainer.global_step,
            disable=self.is_disabled,
            dynamic_ncols=True,
            file=sys.stdout,
            bar_format=self.BAR_FORMAT,
        )

    def on_train_epoch_start(self, *args: Any) -> None:
        """Its total is the run's, not an epoch's."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        if self._should_update(trainer.global_step, trainer.max_steps):
            self.train_progress_bar.n = trainer.global_step
            shown = {
                name.rpartition("/")[2]: f"{float(value):.3g}"
                for name, value in trainer.progress_bar_metrics.items()
            }
            self.train_progress_bar.set_postfix(shown)
