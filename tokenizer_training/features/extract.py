"""From videos to a cache of features: decode, look, write, and go on after a kill."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from rvq_action.data.split import split_episodes
from rvq_action.housekeeping.console import writable_folder
from tokenizer_training.features.index import DatasetIndex
from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.recorded import instructions_digest, pictures_digest
from tokenizer_training.features.teacher import Frames, Teacher
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
    told = instructions_digest(pictures.reader) if teacher.reads_instruction else None
    agreed = [teacher.card.fingerprint, lengths, pictures.cameras, how.stride]
    return DatasetIndex(
        name=pictures.name,
        fingerprint=json.dumps(agreed),
        fps=pictures.reader.fps,
        lengths=lengths,
        cameras=pictures.cameras,
        stride=how.stride,
        train=split.train,
        pictures=pictures_digest(pictures.reader, pictures.cameras),
        instructions=told,
    )


def _extract_dataset(
    teacher: Teacher, pictures: Pictures, planned: DatasetIndex, batch_size: int, out: Path
) -> None:
    writer = DatasetWriter(out, planned, lambda: _fit(teacher, pictures, planned, batch_size))
    index, teacher = writer.index, teacher.fitted(writer.state)
    if index.is_complete:
        logger.info("%s: all %d episodes are in %s.", index.name, index.done, out)
        return
    rows = index.first_rows
    with _bar(index.name, rows[-1], rows[index.done]) as bar, torch.inference_mode():
        for episode in range(index.done, len(index.lengths)):
            numbers = np.arange(0, index.lengths[episode], index.stride)
            batches = _watched(pictures.batches(episode, numbers, batch_size), bar)
            instruction = pictures.instruction(episode)
            features = torch.cat([teacher.features(frames, instruction) for frames in batches])
            if not features.isfinite().all():
                raise ValueError(
                    f"{index.name}, episode {episode}: the teacher gives NaN or infinite features. "
                    "Try --precision float32."
                )
            writer.add(features)
        writer.flush()
    logger.info("%s: features of %d episodes are in %s.", index.name, len(index.lengths), out)


def _fit(
    teacher: Teacher, pictures: Pictures, planned: DatasetIndex, batch_size: int
) -> dict[str, Tensor]:
    """Fit the teacher to training episodes, if it is one that is fitted."""
    most = min(teacher.fit_frames, sum(planned.lengths[i] for i in planned.train))
    if not most:
        return {}
    with _bar(f"{planned.name}: fit", most) as bar:
        return teacher.fit(_watched(pictures.sample(planned.train, most, batch_size), bar))


def _watched(batches: Iterable[Frames], bar: tqdm) -> Iterator[Frames]:
    """The batches, while a progress bar counts their moments."""
    for batch in batches:
        yield batch
        bar.update(len(next(iter(batch.values()))))


def _bar(name: str, total: int, done: int = 0) -> tqdm:
    """A progress bar; none where nobody watches."""
    return tqdm(
        total=int(total), initial=int(done), desc=name, unit="frame", disable=None, file=sys.stderr
    )
