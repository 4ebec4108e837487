"""What a cache looks like on disk.

teacher.json                 the teacher's card
DATASET/index.json           what was extracted of which recordings, and how far
DATASET/teacher.safetensors  what the teacher was fitted to, where it is a fitted one
DATASET/00000.safetensors    `features` [rows, cameras, W]: a shard, its episodes end to end
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rvq_action.housekeeping.json_file import read_json
from rvq_action.housekeeping.training_folder import write_text
from tokenizer_training.features.teacher import TeacherCard

FORMAT_VERSION = 1
TEACHER, INDEX, STATE = "teacher.json", "index.json", "teacher.safetensors"
FEATURES = "features"
"""Name of the one tensor of a shard."""
AGAIN = "Delete the folder and extract the features again: rvq-train features."


@dataclass(frozen=True)
class DatasetIndex:
    """What a cache holds of one dataset.

    Attributes:
        name: Name of the dataset: its folder's.
        fingerprint: Of the features: teacher, what it was fitted to, lengths, cameras, stride, and
            the instructions where they are known.
        fps: Frames per second of the recordings.
        lengths: Frames of every episode of the dataset, extracted yet or not.
        cameras: In the order of the features.
        stride: Frames from one extracted frame to the next; the first one always is.
        train: Training episodes of the split; a fitted teacher has seen no others.
        shards: For every shard written, the number of the episode after its last one.
        pictures: Digest of the files looked at; None until all episodes are extracted, and where
            it was never taken.
        instructions: Digest of the episodes' task texts, where the teacher reads them; else None,
            and where it was never taken.
    """

    name: str
    fingerprint: str
    fps: float
    lengths: tuple[int, ...]
    cameras: tuple[str, ...]
    stride: int
    train: tuple[int, ...]
    shards: tuple[int, ...] = ()
    pictures: str | None = None
    instructions: str | None = None

    @property
    def done(self) -> int:
        """Episodes extracted: the first so many of the dataset."""
        return self.shards[-1] if self.shards else 0

    @property
    def is_complete(self) -> bool:
        return self.done == len(self.lengths)

    @cached_property
    def first_rows(self) -> np.ndarray:
        """[episodes + 1] row of each episode's first feature, counted through all shards."""
        rows = -(-np.asarray(self.lengths, dtype=np.int64) // self.stride)
        return np.concatenate([[0], np.cumsum(rows)])

    def with_shard(self, end: int) -> DatasetIndex:
        """The index once the shard of the episodes before `end` is written."""
        return replace(self, shards=(*self.shards, end))

    def save(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        data = {"format_version": FORMAT_VERSION, **asdict(self)}
        write_text(folder / INDEX, json.dumps(data) + "\n")

    @classmethod
    def load(cls, folder: Path) -> DatasetIndex:
        """Inverse of `save`.

        Raises:
            ValueError: It is damaged or of another format.
        """
        data = {"pictures": None, "instructions": None, **_read(folder / INDEX)}
        try:
            values = {field.name: _frozen(data[field.name]) for field in fields(cls)}
        except KeyError as error:
            raise ValueError(f"{folder / INDEX} lacks {error}. {AGAIN}") from error
        return cls(**values)


def shard_file(folder: Path, number: int) -> Path:
    """The file of a dataset's shard."""
    return folder / f"{number:05d}.safetensors"


def save_card(card: TeacherCard, folder: Path) -> None:
    """Write a teacher's card, whole or not at all."""
    data = {"format_version": FORMAT_VERSION, **card.to_dict()}
    write_text(folder / TEACHER, json.dumps(data, indent=2) + "\n")


def load_card(folder: Path) -> TeacherCard:
    """Inverse of `save_card`.

    Raises:
        ValueError: It is damaged or of another format.
    """
    try:
        return TeacherCard.from_dict(_read(folder / TEACHER))
    except KeyError as error:
        raise ValueError(f"{folder / TEACHER} lacks {error}. {AGAIN}") from error


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _read(file: Path) -> dict[str, Any]:
    data = read_json(file)
    if data.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{file} has format version {data.get('format_version')!r}, this program reads "
            f"{FORMAT_VERSION}. {AGAIN}"
        )
    return data
