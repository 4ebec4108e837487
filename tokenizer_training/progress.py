"""A progress bar that says what is going on, and when it will be over."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class Progress(TQDMProgressBar):
    """Steps done, time left, loss and validation error."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10)

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description("training")

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        shown: dict[str, int | str | float | dict[str, float]] = {}
        for name in ("train/total", "validation"):
            value = trainer.progress_bar_metrics.get(name)
            if value is not None:
                shown[name.removeprefix("train/")] = f"{value:.3g}"
        return shown
