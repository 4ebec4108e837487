"""What a fitted teacher saw of a dataset, kept on disk until its features are made of it.

A file per episode, put in place whole: what was looked at before a kill is not decoded again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tokenizer_training.features.index import LOOKS, save_whole
from tokenizer_training.features.moments import Moments

ONCE_MORE = "Delete that file and give the same `rvq-train features` command again."


@dataclass(frozen=True)
class Looks:
    """Attributes:
    dataset: Folder of the dataset's features.
    moments: Which frames are looked at.
    width: P, float32 numbers of a look at one picture.
    """

    dataset: Path
    moments: Moments
    width: int

    def missing(self, episodes: Iterable[int]) -> list[int]:
        """Those of the episodes that were not looked at yet."""
        return [episode for episode in episodes if not self._file(episode).is_file()]

    def check_room(self, episodes: Iterable[int]) -> None:
        """Refuse to look at more than the disk has room for.

        Raises:
            ValueError: Says how much is needed, and where.
        """
        bytes_each = len(self.moments.index.cameras) * self.width * torch.float32.itemsize
        needed = bytes_each * self.moments.count(self.missing(episodes))
        free = shutil.disk_usage(self.dataset).free
        if needed > free:
            raise ValueError(
                f"{self.dataset} needs {needed / 1e9:.2f} GB of disk space until its features are "
                f"complete ({bytes_each} bytes a frame), and {free / 1e9:.2f} GB are free there. "
                "Make room, or choose another --out, a smaller --side or a larger --stride."
            )

    def save(self, episode: int, looks: Tensor) -> None:
        """Keep the looks at an episode, [moments, cameras, P] float32."""
        self._folder.mkdir(exist_ok=True)
        save_whole({LOOKS: looks}, self._file(episode))

    def load(self, episode: int) -> Tensor:
        """Inverse of `save`; mapped into memory and read where it is used.

        Raises:
            ValueError: The file is missing or damaged.
        """
        file = self._file(episode)
        index, moments = self.moments.index, self.moments.looked_at(episode)
        expected = (len(moments), len(index.cameras), self.width)
        try:
            looks = load_file(file)[LOOKS]
        except (OSError, SafetensorError, KeyError) as error:
            raise ValueError(f"{file} is missing or damaged ({error}). {ONCE_MORE}") from error
        if looks.shape != expected:
            raise ValueError(
                f"{file} holds {tuple(looks.shape)} numbers, not {expected}. {ONCE_MORE}"
            )
        return looks

    @property
    def _folder(self) -> Path:
        return self.dataset / LOOKS

    def _file(self, episode: int) -> Path:
        return self._folder / f"{episode:05d}.safetensors"


def clear_looks(dataset: Path) -> None:
    """Delete all looks in the folder of a dataset's features."""
    if (dataset / LOOKS).is_dir():
        shutil.rmtree(dataset / LOOKS)
