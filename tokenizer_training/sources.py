"""The datasets of a run: opened, checked against one another and split by episode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rvq_action.chunk import ActionChunk
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.episode import Episode
from rvq_action.data.idle import IdleRule
from rvq_action.data.mapping import Mapping
from rvq_action.data.split import (
    HELD_OUT,
    MIN_EPISODES,
    VALIDATION,
    Split,
    split_episodes,
    validation_size,
)
from rvq_action.data.windows import Windows, horizon_frames
from rvq_action.housekeeping.training_folder import differences

SHOWN = 3
"""Differences that an error names."""


@dataclass(frozen=True)
class Source:
    """One dataset and the use of each of its episodes.

    Attributes:
        dataset: The dataset.
        split: Training and held-out episodes; nothing in training ever reads the latter.
        validation: Those of the training episodes that choose the best tokenizer.
        seconds: Length of a window.
    """

    dataset: RobotDataset
    split: Split
    validation: tuple[int, ...]
    seconds: float

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def horizon(self) -> int:
        """T, frames of a window."""
        return horizon_frames(self.dataset.fps, self.seconds)

    @property
    def fitted(self) -> tuple[int, ...]:
        """The training episodes that everything is fitted on."""
        return tuple(i for i in self.split.train if i not in self.validation)

    def fit_windows(self) -> Windows:
        """Every full window of the fitted episodes: what statistics are computed on."""
        return Windows(self._episodes(self.fitted), self.horizon)

    def late_chunks(self, size: int) -> Iterator[ActionChunk]:
        """The windows of the fitted episodes that overrun the end of theirs, `size` at a time."""
        windows = Windows(self._episodes(self.fitted), self.horizon, tails=True)
        lengths = {episode.index: len(episode) for episode in windows.episodes}
        ends = np.array([lengths[index] for index in windows.episode_ids])
        late = np.flatnonzero(windows.starts + self.horizon > ends)
        for first in range(0, len(late), size):
            yield windows.chunk(late[first : first + size])

    def moving_windows(self, horizon: int) -> Windows:
        """Windows to train on: those of the fitted episodes where something moves, with tails."""
        return Windows(self._episodes(self.fitted), horizon, tails=True, idle=IdleRule())

    def validation_windows(self) -> Windows:
        """Every full window of the validation episodes."""
        return Windows(self._episodes(self.validation), self.horizon)

    def to_metadata(self) -> dict:
        """The use of every episode, for the artefact."""
        return {**self.split.to_dict(), "validation": list(self.validation)}

    def _episodes(self, indices: Sequence[int]) -> list[Episode]:
        return [self.dataset.episodes[i] for i in indices]


def open_sources(
    paths: Sequence[str | Path],
    mapping: str | Path | None = None,
    seed: int = 0,
    held_out: float = HELD_OUT,
    validation: float = VALIDATION,
    seconds: float = 1.0,
) -> list[Source]:
    """Open datasets that one tokenizer is to be trained on.

    Args:
        paths: Folders of LeRobotDatasets.
        mapping: Mapping of every one of them; None to find each one's own.
        seed: Of the splits.
        held_out: Share of the episodes that training never reads.
        validation: Share of the training episodes that choose the best tokenizer; at least one.
        seconds: Length of a window.

    Raises:
        FileNotFoundError: A dataset, or a part of it, is missing.
        ValueError: A dataset is empty, damaged or too small, or two of them clash.
    """
    if not paths:
        raise ValueError("No dataset to train on. Name at least one: --data.datasets PATH ...")
    datasets = [RobotDataset.open(path, mapping) for path in paths]
    for dataset in datasets:
        horizon_frames(dataset.fps, seconds)
    _check_names(datasets)
    _check_embodiments(datasets)
    return [_source(dataset, seed, held_out, validation, seconds) for dataset in datasets]


def _source(
    dataset: RobotDataset, seed: int, held_out: float, validation: float, seconds: float
) -> Source:
    count = dataset.reader.num_episodes
    if count < MIN_EPISODES:
        raise ValueError(
            f"{dataset.path} has {count} episodes; training needs at least {MIN_EPISODES}: to fit "
            "on, to validate on and to hold out. Record more."
        )
    if not 0 < validation < 1:
        raise ValueError(f"The validation share must lie between 0 and 1, got {validation}.")
    split = split_episodes(count, seed, held_out)
    size = validation_size(len(split.train), validation)
    if size >= len(split.train):
        raise ValueError(
            f"{dataset.path}: {len(split.train)} training episodes leave nothing to fit on beside "
            f"{size} for validation. Hold out less, or record more."
        )
    drawn = np.random.default_rng([seed, 1]).permutation(split.train)[:size]
    return Source(dataset, split, tuple(sorted(drawn.tolist())), seconds)


def _check_names(datasets: Sequence[RobotDataset]) -> None:
    names = [dataset.name for dataset in datasets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"Datasets share the folder names {twice}, by which a tokenizer remembers their "
            "splits. Rename a folder, or name each dataset once."
        )


def _check_embodiments(datasets: Sequence[RobotDataset]) -> None:
    """Datasets of one embodiment must be read in one way."""
    first: dict[str, RobotDataset] = {}
    for dataset in datasets:
        other = first.setdefault(dataset.embodiment, dataset)
        if (other.layout, other.fps) != (dataset.layout, dataset.fps):
            raise ValueError(
                f"{other.name} and {dataset.name} are both embodiment {dataset.embodiment!r}, but "
                f"with layouts {other.layout.names} at {other.fps} Hz and {dataset.layout.names} "
                f"at {dataset.fps} Hz. Give one of them another `embodiment` in its mapping."
            )
        if unlike := read_unlike(other.mapping, dataset.mapping):
            raise ValueError(
                f"{other.name} and {dataset.name} are both embodiment {dataset.embodiment!r}, but "
                f"their mappings read numbers in different ways ({unlike}), and a "
                "tokenizer keeps one mapping of each embodiment, by which it reads recordings and "
                "commands robots. Give one of them another `embodiment` in its mapping, or write "
                "its numbers as the other does."
            )


def read_unlike(one: Mapping, other: Mapping) -> str:
    """How two mappings read numbers differently; empty where columns are only called otherwise.

    They may take the same columns by name, or by place.
    """
    by_name = [replace(mapping, robot_types=()) for mapping in (one, other)]
    if by_name[0] == by_name[1]:
        return ""
    return "; ".join(differences(one.decisive(), other.decisive())[:SHOWN])
