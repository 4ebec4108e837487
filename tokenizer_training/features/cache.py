"""The cache of visual features, as training and analysis read it: no video, no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rvq_action.data.dataset import RobotDataset
from tokenizer_training.features.index import (
    AGAIN,
    FEATURES,
    INDEX,
    TEACHER,
    DatasetIndex,
    load_card,
    shard_file,
)
from tokenizer_training.features.recorded import instructions_digest, pictures_digest
from tokenizer_training.features.teacher import TeacherCard


@dataclass(frozen=True)
class FeatureCache:
    """A folder that `rvq-train features` made.

    Attributes:
        path: The folder.
        teacher: Who looked at the pictures.
    """

    path: Path
    teacher: TeacherCard

    @classmethod
    def open(cls, path: str | Path) -> FeatureCache:
        """Open a cache for reading.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It is damaged or of another format.
        """
        path = Path(path)
        if not (path / TEACHER).is_file():
            raise FileNotFoundError(
                f"{path} is no cache of visual features: it has no {TEACHER}. Make one: rvq-train "
                f"features --data.datasets DATASET ... --out {path}"
            )
        return cls(path, load_card(path))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets in the cache."""
        return tuple(sorted(file.parent.name for file in self.path.glob(f"*/{INDEX}")))

    def dataset(self, name: str) -> DatasetFeatures:
        """The features of a dataset.

        Raises:
            KeyError: The cache has no such dataset; names those it has.
            ValueError: Its index is damaged.
        """
        if name not in self.datasets:
            raise KeyError(
                f"{self.path} has no features of {name!r}, only of {list(self.datasets)}. Add "
                f"them: rvq-train features --data.datasets DATASET --out {self.path}"
            )
        return DatasetFeatures(self.path / name, self.teacher, DatasetIndex.load(self.path / name))


@dataclass(frozen=True)
class DatasetFeatures:
    """The features of one dataset, looked up by episode and frame.

    Attributes:
        path: Their folder.
        teacher: Who looked at the pictures.
        index: What was extracted of which recordings.
    """

    path: Path
    teacher: TeacherCard
    index: DatasetIndex

    @property
    def name(self) -> str:
        return self.index.name

    @property
    def cameras(self) -> tuple[str, ...]:
        return self.index.cameras

    @property
    def width(self) -> int:
        """W, features per camera."""
        return self.teacher.width

    @property
    def fitted(self) -> tuple[int, ...]:
        """Training episodes of the split, the only ones that a fitted teacher has seen."""
        return self.index.train

    @property
    def fingerprint(self) -> str:
        """Equal where equal teachers looked alike at equal pictures.

        Features are then equal but for the last digits, which the processor decides.
        """
        return self.index.fingerprint

    def lookup(
        self, episodes: np.ndarray | Tensor, frames: np.ndarray | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Features of single frames; between extracted frames, of the nearest one before.

        Args:
            episodes: [N] integers.
            frames: [N] integers, counted from the episode's start.

        Returns:
            [N, cameras * W] float32, cameras end to end, and [N] bool: known. Where the episode is
            not cached or the frame lies outside it, features are 0 and known is False.

        Raises:
            ValueError: A file of the cache is missing or damaged.
        """
        rows, known = self.locate(episodes, frames)
        features = torch.zeros(len(known), len(self.cameras) * self.width)
        features[known] = self._rows(rows)
        return features, known

    def locate(
        self, episodes: np.ndarray | Tensor, frames: np.ndarray | Tensor
    ) -> tuple[np.ndarray, Tensor]:
        """Where the features of single frames are, counted through all shards.

        Args:
            episodes: [N] integers.
            frames: [N] integers, counted from the episode's start.

        Returns:
            Integers [known ones], and [N] bool: known.
        """
        episodes, frames = np.asarray(episodes), np.asarray(frames)
        lengths = self._lengths
        known = (episodes >= 0) & (episodes < len(lengths)) & (frames >= 0)
        known[known] = frames[known] < lengths[episodes[known]]
        rows = self.index.first_rows[episodes[known]] + frames[known] // self.index.stride
        return rows, torch.from_numpy(known)

    @property
    def num_rows(self) -> int:
        """Frames that have features, of all episodes extracted so far."""
        return int(self.index.first_rows[self.index.done])

    def blocks(self, size: int) -> Iterator[Tensor]:
        """All rows in order, [at most `size`, cameras * W] float32 at a time.

        Raises:
            ValueError: A file of the cache is missing or damaged.
        """
        for shard in self._shards:
            for block in shard.split(size):
                yield block.flatten(1).float()

    def check_complete(self, dataset: RobotDataset) -> None:
        """Refuse features of other recordings than these, or of only a part of them.

        Pictures are compared where their files are here and the cache remembers them, instructions
        where the teacher read them.

        Raises:
            ValueError: Says what differs, and the fix.
        """
        reader = dataset.reader
        lengths = tuple(reader.episode_length(i) for i in range(reader.num_episodes))
        if lengths != self.index.lengths or reader.fps != self.index.fps:
            raise ValueError(
                f"{self.path} was made from other recordings than {dataset.path}: "
                f"{len(self.index.lengths)} episodes with {sum(self.index.lengths)} frames at "
                f"{self.index.fps:g} Hz, not {len(lengths)} with {sum(lengths)} at "
                f"{reader.fps:g} Hz. {AGAIN}"
            )
        if not self.index.is_complete:
            raise ValueError(
                f"{self.path} holds {self.index.done} of {len(lengths)} episodes. Go on with the "
                "same `rvq-train features` command."
            )
        known = self.index.pictures
        if known is not None and pictures_digest(reader, self.cameras) not in (None, known):
            raise ValueError(
                f"{self.path} was made from other pictures than {dataset.path} holds now: the "
                f"recordings are as long, but files of {', '.join(self.cameras)} have changed. "
                f"{AGAIN}"
            )
        if self.index.instructions not in (None, instructions_digest(reader)):
            raise ValueError(
                f"{self.path} was made by a teacher that reads the episodes' tasks, and tasks of "
                f"{dataset.path} have changed since. {AGAIN}"
            )

    def check_split(self, train: Sequence[int]) -> None:
        """Refuse a teacher that was fitted on episodes other than training ones.

        Raises:
            ValueError: Names them, and the fix.
        """
        foreign = sorted(set(self.fitted) - set(train))
        if foreign and self.teacher.is_fitted:
            raise ValueError(
                f"The teacher of {self.path} was fitted on episodes {foreign[:5]}, which are held "
                "out now. Extract the features with the split of this run (--split_seed, "
                "--held_out) into another cache."
            )

    def _rows(self, rows: np.ndarray) -> Tensor:
        """[rows, cameras * W] float32 of rows counted through all shards."""
        found = torch.empty(len(rows), len(self.cameras) * self.width)
        starts = self.index.first_rows[[0, *self.index.shards]]
        numbers = np.searchsorted(starts, rows, side="right") - 1
        for number in np.unique(numbers):
            here = numbers == number
            chosen = torch.from_numpy(rows[here] - starts[number])
            found[torch.from_numpy(here)] = self._shards[number][chosen].flatten(1).float()
        return found

    @cached_property
    def _lengths(self) -> np.ndarray:
        """Frames of the episodes extracted so far."""
        return np.asarray(self.index.lengths[: self.index.done], dtype=np.int64)

    @cached_property
    def _shards(self) -> list[Tensor]:
        """The tensors of all shards, mapped into memory and read where they are used."""
        return [self._shard(number) for number in range(len(self.index.shards))]

    def _shard(self, number: int) -> Tensor:
        file = shard_file(self.path, number)
        first, end = (0, *self.index.shards)[number : number + 2]
        rows = int(self.index.first_rows[end] - self.index.first_rows[first])
        try:
            features = load_file(file)[FEATURES]
        except (OSError, SafetensorError, KeyError) as error:
            raise ValueError(f"{file} is missing or damaged ({error}). {AGAIN}") from error
        if features.shape != (rows, len(self.cameras), self.width):
            raise ValueError(
                f"{file} holds {tuple(features.shape)} features, the index states "
                f"{(rows, len(self.cameras), self.width)}. {AGAIN}"
            )
        return features
