"""Writing a cache: shard by shard, so that a killed extraction goes on where it was.

A shard is put in place whole, then the index that counts it. Whatever a kill leaves beyond the
index is written again.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from rvq_action.housekeeping.training_folder import differences
from tokenizer_training.features.index import (
    FEATURES,
    INDEX,
    STATE,
    TEACHER,
    DatasetIndex,
    load_card,
    save_card,
    save_whole,
    shard_file,
)
from tokenizer_training.features.looks import clear_looks
from tokenizer_training.features.teacher import TeacherCard

EPISODES_PER_SHARD = 8
BYTES_PER_SHARD = 64 << 20
"""A shard ends with the episode that fills either."""
WRITTEN = ("fingerprint", "shards")
"""Parts of an index that follow from the others, or from how far the extraction is."""


def claim(folder: Path, card: TeacherCard) -> None:
    """Make an empty folder the cache of a teacher, or find it to be that already.

    Raises:
        ValueError: It holds something else, or the features of another teacher.
    """
    if (folder / TEACHER).is_file():
        other = load_card(folder)
        if other.fingerprint != card.fingerprint:
            differing = differences(other.to_dict(), card.to_dict())
            differing = [line for line in differing if not line.startswith("fingerprint")]
            raise ValueError(
                f"{folder} holds the features of another teacher ({'; '.join(differing)}). Choose "
                "another --out, or delete that folder."
            )
    elif any(not file.name.startswith(".") for file in folder.iterdir()):
        raise ValueError(f"{folder} holds other files. Choose an empty folder for --out.")
    else:
        save_card(card, folder)


class DatasetWriter:
    """Adds the features of a dataset's episodes, in order, to a cache.

    Args:
        cache: The cache's folder.
        plan: What the index is to be, signed.
        card: Of the teacher that signs it.

    Attributes:
        folder: Of the dataset's features.
        index: What is written so far.

    Raises:
        ValueError: The cache holds this dataset extracted in another way, or from recordings that
            have changed since.
    """

    def __init__(self, cache: Path, plan: DatasetIndex, card: TeacherCard) -> None:
        self.folder = cache / plan.name
        self._rows: list[Tensor] = []
        self._waiting = 0
        self._card = card
        if (self.folder / INDEX).is_file():
            self.index = DatasetIndex.load(self.folder)
            self._check(plan)
            if self.index.is_complete:
                return
            pictures = self.index.pictures or plan.pictures
            self.index = replace(self.index, pictures=pictures).signed(card)
        else:
            self.folder.mkdir(exist_ok=True)
            clear_looks(self.folder)  # whatever is here belongs to an index that is gone
            (self.folder / STATE).unlink(missing_ok=True)
            self.index = plan
        self.index.save(self.folder)

    def add(self, features: Tensor) -> None:
        """Add the next episode.

        Args:
            features: [rows, cameras, W].
        """
        self._rows.append(features)
        self._waiting += features.nbytes
        if len(self._rows) >= EPISODES_PER_SHARD or self._waiting >= BYTES_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        """Write what waits as a shard."""
        if self._rows:
            file = shard_file(self.folder, len(self.index.shards))
            save_whole({FEATURES: torch.cat(self._rows)}, file)
            self.index = self.index.with_shard(self.index.done + len(self._rows))
            self.index.save(self.folder)
            self._rows, self._waiting = [], 0

    def forget_pictures(self) -> None:
        """Let the extraction go on with other files: one could not be read, and is to be mended."""
        self.index = replace(self.index, pictures=None).signed(self._card)
        self.index.save(self.folder)

    def _check(self, plan: DatasetIndex) -> None:
        """Refuse to go on with something else than was begun."""
        known = None not in (self.index.pictures, plan.pictures)
        if not known or plan.cameras != self.index.cameras:
            plan = replace(plan, pictures=self.index.pictures)
        if self.index.instructions is None:
            plan = replace(plan, instructions=None)
        old, new = asdict(self.index), asdict(plan)
        names = [name for name in new if new[name] != old[name] and name not in WRITTEN]
        if names:
            raise ValueError(
                f"{self.folder} was extracted from other recordings or in another way (other "
                f"{', '.join(names)}). Choose another --out, or delete that folder."
            )
