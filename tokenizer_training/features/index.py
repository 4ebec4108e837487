"""What a cache looks like on disk.

teacher.json                 the teacher's card
DATASET/index.json           what was extracted of which recordings, and how far
DATASET/teacher.safetensors  what the teacher was fitted to, where it is a fitted one
DATASET/00000.safetensors    `features` [rows, cameras, W]: a shard, its episodes end to end
DATASET/looks/00000.safetensors  `looks` [moments, cameras, P] of a fitted teacher at an episode's
                                 pictures; deleted once all features are made of them
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from rvq_action.artifact.tensor_store import save_tensors
from rvq_action.housekeeping.json_file import read_json
from rvq_action.housekeeping.training_folder import write_text
from tokenizer_training.features.teacher import TeacherCard

FORMAT_VERSION = 1
TEACHER, INDEX, STATE = "teacher.json", "index.json", "teacher.safetensors"
FEATURES, LOOKS = "features", "looks"
"""Names of the one tensor of a shard, and of a fitted teacher's looks and their folder."""
AGAIN = "Delete the folder and extract the features again: rvq-train features."


@dataclass(frozen=True)
class DatasetIndex:
    """What a cache holds of one dataset.

    Attributes:
        name: Name of the dataset: its folder's.
        fingerprint: Of what decides the features, as `signed` makes it; older caches have another.
        fps: Frames per second of the recordings.
        lengths: Frames of every episode of the dataset, extracted yet or not.
        cameras: In the order of the features.
        stride: Frames from one extracted frame to the next; the first one always is.
        train: Training episodes of the split; a fitted teacher has seen no others.
        shards: For every shard written, the number of the episode after its last one.
        pictures: Digest of the files looked at; None where one could not be read, so that it may
            be mended before the extraction goes on, and where it was never taken.
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

    def signed(self, teacher: TeacherCard) -> DatasetIndex:
        """The index with the fingerprint of what decides a teacher's features of these recordings.

        No computed number is in it: on another processor the last digits of features, and of what
        a teacher is fitted to, are others. The split decides only what a fitted teacher has seen.
        """
        decisive = {
            "teacher": teacher.fingerprint,
            "lengths": self.lengths,
            "cameras": self.cameras,
            "stride": self.stride,
            "train": self.train if teacher.is_fitted else None,
            "pictures": self.pictures,
            "instructions": self.instructions,
        }
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
        return replace(self, fingerprint=digest.hexdigest()[:16])

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


def save_whole(
    tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file, whole or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    save_tensors(tensors, partial, metadata)
    os.replace(partial, file)


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
