"""`rvq-vla train` in several processes; each leaves the weights it ends with."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from lightning import Callback

from vla.training.export import shipped_weights
from vla.training.train import train
from vla.training.train_cli import TrainCLI


class SaveWeights(Callback):
    """At the end; and the checkpoint of the second step, before a later one replaces it."""

    def on_train_batch_start(self, trainer, *args) -> None:
        folder = Path(trainer.default_root_dir)
        if (
            trainer.global_step == 2
            and trainer.is_global_zero
            and not (folder / "rank-0.pt").exists()
        ):
            (folder / "earlier").mkdir(exist_ok=True)
            for file in (folder / "checkpoints").glob("*.ckpt"):
                shutil.copy(file, folder / "earlier")

    def on_train_end(self, trainer, pl_module) -> None:
        path = Path(trainer.default_root_dir) / f"rank-{trainer.global_rank}.pt"
        torch.save(shipped_weights(pl_module.model, None), path)


if __name__ == "__main__":
    cli = TrainCLI(sys.argv[1:])
    cli.trainer.callbacks.append(SaveWeights())
    train(cli.run_settings(), cli.model, cli.trainer)
