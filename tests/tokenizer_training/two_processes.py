"""`rvq-train fit` in several processes; each leaves the codebooks it ends with."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning import Callback

from tokenizer_training.fit import fit
from tokenizer_training.fit_cli import FitCLI


class SaveCodebooks(Callback):
    def on_train_end(self, trainer, pl_module) -> None:
        path = Path(trainer.default_root_dir) / f"rank-{trainer.global_rank}.pt"
        torch.save(pl_module.model.state_dict(), path)


if __name__ == "__main__":
    cli = FitCLI(sys.argv[1:])
    cli.trainer.callbacks.append(SaveCodebooks())
    fit(cli.run_settings(), cli.model, cli.datamodule, cli.trainer)
