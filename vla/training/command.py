"""What `rvq-vla train` does."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rvq_action.housekeeping.console import kept_if_used


def train_command(words: Sequence[str]) -> None:
    """Train a policy as the words say.

    Raises:
        FileNotFoundError: Something that is named is not there.
        ValueError: It cannot be trained so; says why.
    """
    from transformers.utils.logging import disable_progress_bar

    from vla.training.train import train
    from vla.training.train_cli import TrainCLI

    for package in ("lightning.pytorch", "lightning.fabric", "huggingface_hub"):
        logging.getLogger(package).setLevel(logging.WARNING)
    disable_progress_bar()  # of writing shards, in the middle of our own
    cli = TrainCLI(words)
    run = cli.run_settings()
    with kept_if_used(run.run_dir):
        train(run, cli.model, cli.trainer)
