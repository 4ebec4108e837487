"""`rvq-vla train` in several processes; each leaves the weights it ends with."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning import Callback

from vla.training.export import shipped_weights
from vla.training.train import train
from vla.training.train_cli import TrainCLI


class SaveWeights(Callback):
    def on_train_end(self, trainer, pl_module) -> None:
        path = Path(trainer.default_root_dir) / f"rank-{trainer.global_rank}.pt"
        torch.save(shipped_weights(pl_module.model, None), path)


if __name__ == "__main__":
    cli = TrainCLI(sys.argv[1:])
    cli.trainer.callbacks.append(SaveWeights())
    train(cli.run_settings(), cli.model, cli.trainer)
