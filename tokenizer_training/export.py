"""Checkpoint -> artefact."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rvq_action.tokenizer import ActionTokenizer
from tokenizer_training.portable import from_portable
from tokenizer_training.run_folder import RunFolder

PREFIX = "average.module."
"""Under which a checkpoint keeps the averaged weights, the ones that are exported."""


def export_checkpoint(source: Path, target: Path) -> ActionTokenizer:
    """Write the tokenizer of a checkpoint as an artefact.

    Args:
        source: A checkpoint, or the folder of a run, whose last checkpoint is meant.
        target: Folder of the artefact.

    Raises:
        FileNotFoundError: There is no checkpoint.
        ValueError: It is damaged, or not one of ours.
    """
    checkpoint = RunFolder(source).checkpoint if source.is_dir() else source
    if not checkpoint.is_file():
        raise FileNotFoundError(f"There is no checkpoint {checkpoint}.")
    tokenizer = read_checkpoint(checkpoint)
    tokenizer.save_pretrained(target)
    return tokenizer


def read_checkpoint(path: Path) -> ActionTokenizer:
    """The tokenizer of a checkpoint."""
    data = load_checkpoint(path)
    if not isinstance(data, dict) or "tokenizer" not in data:
        holds = f"keys are {list(data)}" if isinstance(data, dict) else f"type is {type(data)}"
        raise ValueError(f"{path} is no checkpoint of `rvq-train fit`; its {holds}.")
    weights = {
        name.removeprefix(PREFIX): tensor
        for name, tensor in data["state_dict"].items()
        if name.startswith(PREFIX)
    }
    tokenizer = from_portable(data["tokenizer"], weights)
    metadata = {k: v for k, v in tokenizer.metadata.items() if k != "figures"}
    return replace(tokenizer, metadata={**metadata, "steps": data["global_step"]})


def load_checkpoint(path: Path) -> Any:
    """What a checkpoint holds; torch's own messages have many lines, so ours stands for them.

    Raises:
        ValueError: It is damaged, or not one of ours.
    """
    unusable = (
        f"{path} is damaged, or no checkpoint of `rvq-train fit`. Give the folder of a run, or its "
        "checkpoints/last.ckpt."
    )
    if not zipfile.is_zipfile(path):
        raise ValueError(unusable)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(unusable) from error
