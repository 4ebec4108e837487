"""From videos to a cache of features: decode, look, write, and go on after a kill."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from rvq_action.console import writable_folder
from rvq_action.data.split import split_episodes
from tokenizer_training.features.index import DatasetIndex
from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.teacher import Teacher
from tokenizer_training.features.writer import DatasetWriter, claim

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extraction:
    """How features are extracted.

    Attributes:
        stride: Frames from one extracted frame to the next.
        held_out: Share of the episodes that the teacher is not fitted on.
        split_seed: Seed of that split.
        batch_size: Moments looked at together; decides speed and memory only.
    """

    stride: int = 1
    held_out: float = 0.2
    split_seed: int = 0
    batch_size: int = 16

    def __post_init__(self) -> None:
        for name in ("stride", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}.")


def extract(teacher: Teacher, datasets: Sequence[Pictures], how: Extraction, out: Path) -> None:
    """Extract the features of datasets, or go on with it.

    Args:
        teacher: Who looks at the pictures.
        datasets: What at.
        how: Which frames.
        out: Folder of the cache.

    Raises:
        FileNotFoundError: A video is missing.
        ValueError: A video is damaged, or the folder holds other features.
    """
    names = [pictures.name for pictures in datasets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"Datasets share the folder names {twice}, by which a cache tells them apart. Rename a "
            "folder, or name each dataset once."
        )
    plans = [plan(teacher, pictures, how) for pictures in datasets]
    claim(writable_folder(out), teacher.card)
    for pictures, planned in zip(datasets, plans, strict=True):
        _extract_dataset(teacher, pictures, planned, how.batch_size, out)


def plan(teacher: Teacher, pictures: Pictures, how: Extraction) -> DatasetIndex:
    """What the index of a dataset is to be.

    Raises:
        ValueError: It has too few episodes to split.
    """
    lengths = pictures.lengths
    split = split_episodes(len(lengths), how.split_seed, how.held_out)
    agreed = json.dumps([teacher.card.fingerprint, pictures.cameras, how.stride])
    return DatasetIndex(
        name=pictures.name,
        fingerprint=agreed,
        fps=pictures.reader.fps,
        lengths=lengths,
        cameras=pictures.cameras,
        stride=how.stride,
        train=split.train,
    )


def _extract_dataset(
    teacher: Teacher, pictures: Pictures, planned: DatasetIndex, batch_size: int, out: Path
) -> None:
    def fit() -> dict[str, torch.Tensor]:
        if not teacher.fit_frames:
            return {}
        logger.info("%s: fitting the teacher to training episodes.", planned.name)
        return teacher.fit(pictures.sample(planned.train, teacher.fit_frames, batch_size))

    writer = DatasetWriter(out, planned, fit)
    index, teacher = writer.index, teacher.fitted(writer.state)
    if index.is_complete:
        logger.info("%s: all %d episodes are in %s.", index.name, index.done, out)
        return
    rows = index.first_rows
    bar = tqdm(
        total=int(rows[-1]),
        initial=int(rows[index.done]),
        desc=index.name,
        unit="frame",
        disable=None,
        file=sys.stderr,
    )
    with bar, torch.inference_mode():
        for episode in range(index.done, len(index.lengths)):
            numbers = np.arange(0, index.lengths[episode], index.stride)
            parts = []
            for frames in pictures.batches(episode, numbers, batch_size):
                parts.append(teacher.features(frames, pictures.instruction(episode)))
                bar.update(len(parts[-1]))
            writer.add(torch.cat(parts))
        writer.flush()
    logger.info("%s: features of %d episodes are in %s.", index.name, len(index.lengths), out)
