"""A progress bar that says what is going on, and when it will be over."""

from __future__ import annotations

import sys
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from tokenizer_training.callbacks import BestTokenizer


class Progress(TQDMProgressBar):
    """Steps done of the whole run, this process's rate, loss, and the last look at validation."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10)

    def init_train_tqdm(self) -> Tqdm:
        """A bar over all steps of the run; its rate counts from where this process begins."""
        return Tqdm(
            desc="training",
            total=self.trainer.max_steps,
            initial=self.trainer.global_step,
            disable=self.is_disabled,
            dynamic_ncols=True,
            file=sys.stdout,
            smoothing=0,
            bar_format=self.BAR_FORMAT,
        )

    def on_train_epoch_start(self, *args: Any) -> None:
        """Let the clock run from here: the look at the start is no training."""
        self.train_progress_bar.unpause()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        step = trainer.global_step
        if self._should_update(step, trainer.max_steps):
            self.train_progress_bar.n = step
            self.train_progress_bar.set_postfix(self.get_metrics(trainer, pl_module))

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        shown: dict[str, int | str | float | dict[str, float]] = {}
        total = trainer.progress_bar_metrics.get("train/total")
        if total is not None:
            shown["total"] = f"{total:.3g}"
        looks = [c.latest for c in trainer.callbacks if isinstance(c, BestTokenizer)]  # type: ignore[attr-defined]
        for latest in looks:
            if latest is not None:
                shown[f"validation_{latest.kind}"] = f"{latest.score:.3g}"
        return shown
