"""From videos to a cache of features: decode, look, write, and go on after a kill.

Every frame is decoded once, but for what a kill finds unwritten. A teacher with weights gives its
features at once. One that is fitted looks at all frames first, and its looks wait on disk until it
is fitted and features are made of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rvq_action.data.split import split_episodes
from rvq_action.housekeeping.console import writable_folder
from tokenizer_training.features.fitted import FittedExtraction
from tokenizer_training.features.index import DatasetIndex
from tokenizer_training.features.looking import Looking, progress
from tokenizer_training.features.looks import clear_looks
from tokenizer_training.features.moments import Moments
from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.recorded import instructions_digest, pictures_digest
from tokenizer_training.features.teacher import FittedTeacher, Teacher
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
        ValueError: A video is damaged, the folder holds other features, or the disk lacks room.
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
    lookings = [
        Looking(teacher, pictures, DatasetWriter(out, planned, teacher.card), how.batch_size)
        for pictures, planned in zip(datasets, plans, strict=True)
    ]
    begun = [(looking.writer, _features(looking)) for looking in lookings]
    for writer, features in begun:
        _write(features, writer, out)


def plan(teacher: Teacher, pictures: Pictures, how: Extraction) -> DatasetIndex:
    """What the index of a dataset is to be.

    Raises:
        ValueError: It has too few episodes to split.
    """
    lengths = pictures.lengths
    split = split_episodes(len(lengths), how.split_seed, how.held_out)
    told = instructions_digest(pictures.reader) if teacher.reads_instruction else None
    return DatasetIndex(
        name=pictures.name,
        fingerprint="",
        fps=pictures.reader.fps,
        lengths=lengths,
        cameras=pictures.cameras,
        stride=how.stride,
        train=split.train,
        pictures=pictures_digest(pictures.reader, pictures.cameras),
        instructions=told,
    ).signed(teacher.card)


def _features(looking: Looking) -> Iterator[Tensor]:
    """Features of the episodes that have none yet, in order, each made when it is asked for."""
    if looking.writer.index.is_complete:
        return iter(())
    if isinstance(looking.teacher, FittedTeacher):
        return FittedExtraction(looking.teacher, looking).features()
    return _at_once(looking)


def _at_once(looking: Looking) -> Iterator[Tensor]:
    """[rows, cameras, W] of every episode that has none yet, from a teacher that has weights."""
    index, moments = looking.writer.index, Moments(looking.writer.index)
    rows = index.first_rows
    with progress(index.name, rows[-1], rows[index.done]) as bar:
        for episode in range(index.done, len(index.lengths)):
            yield looking.at(episode, moments.featured(episode), bar)


def _write(features: Iterator[Tensor], writer: DatasetWriter, out: Path) -> None:
    """Write the features of the remaining episodes; looks at them are needed no more then."""
    name, total = writer.index.name, len(writer.index.lengths)
    remaining = range(writer.index.done, total)
    with torch.inference_mode():
        for episode, seen in zip(remaining, features, strict=True):
            if not seen.isfinite().all():
                raise ValueError(
                    f"{name}, episode {episode}: the teacher gives NaN or infinite features. "
                    "Try --precision float32."
                )
            writer.add(seen)
    writer.flush()
    clear_looks(writer.folder)
    logger.info(
        "%s: %s %d episodes are in %s.", name, "features of" if remaining else "all", total, out
    )
