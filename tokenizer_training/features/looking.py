"""A teacher before the pictures of a dataset, and the progress bars meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.teacher import Frames, Teacher
from tokenizer_training.features.writer import DatasetWriter


@dataclass(frozen=True)
class Looking:
    """Attributes:
    teacher: Who looks.
    pictures: At what.
    writer: Of the features; told of pictures that cannot be read.
    batch_size: Moments looked at together.
    """

    teacher: Teacher
    pictures: Pictures
    writer: DatasetWriter
    batch_size: int

    def at(self, episode: int, numbers: np.ndarray, bar: tqdm) -> Tensor:
        """What the teacher sees of an episode.

        Args:
            episode: Its number.
            numbers: [N] numbers of frames, ascending.
            bar: Counts them.

        Returns:
            [N, cameras, P].

        Raises:
            FileNotFoundError: A video is missing.
            ValueError: A video is truncated or damaged; names the file.
        """
        told, seen = self.pictures.instruction(episode), []
        for frames in self._decoded(episode, numbers):
            seen.append(self.teacher.look(frames, told))
            bar.update(len(seen[-1]))
        return torch.cat(seen)

    def _decoded(self, episode: int, numbers: np.ndarray) -> Iterator[Frames]:
        try:
            yield from self.pictures.batches(episode, numbers, self.batch_size)
        except ValueError:
            self.writer.forget_pictures()
            raise


def progress(name: str, total: int, done: int = 0) -> tqdm:
    """A progress bar; none where nobody watches."""
    return tqdm(
        total=int(total), initial=int(done), desc=name, unit="frame", disable=None, file=sys.stderr
    )
