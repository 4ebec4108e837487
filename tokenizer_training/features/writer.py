"""Writing a cache: shard by shard, so that a killed extraction goes on where it was.

A shard is put in place whole, then the index that counts it. Whatever a kill leaves beyond the
index is written again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from rvq_action.artifact.tensor_store import save_tensors
from rvq_action.housekeeping.training_folder import differences
from tokenizer_training.features.index import (
    FEATURES,
    INDEX,
    STATE,
    TEACHER,
    DatasetIndex,
    load_card,
    save_card,
    shard_file,
)
from tokenizer_training.features.teacher import TeacherCard

EPISODES_PER_SHARD = 8
BYTES_PER_SHARD = 64 << 20
"""A shard ends with the episode that fills either."""


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
        plan: What the index is to be; its fingerprint is a JSON list of all that decides the
            features but the instructions and what the teacher was fitted to, which the writer
            adds. Its pictures are remembered once all episodes are there.
        fit: Fits the teacher, called if that was not done before.

    Raises:
        ValueError: The cache holds this dataset extracted in another way, or from recordings that
            have changed since.
    """

    def __init__(
        self, cache: Path, plan: DatasetIndex, fit: Callable[[], dict[str, Tensor]]
    ) -> None:
        self.folder = cache / plan.name
        self._rows: list[Tensor] = []
        self._waiting = 0
        self._pictures = plan.pictures
        if (self.folder / INDEX).is_file():
            self.index = DatasetIndex.load(self.folder)
            self.state = self._load_state()
            self._check(plan)
        else:
            self.state = fit()
            self.index = replace(plan, fingerprint=_digest(plan, self.state), pictures=None)
            self.folder.mkdir(exist_ok=True)
            if self.state:
                _save(self.state, self.folder / STATE)
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
            _save({FEATURES: torch.cat(self._rows)}, file)
            self.index = self.index.with_shard(self.index.done + len(self._rows))
            if self.index.is_complete:
                self.index = replace(self.index, pictures=self._pictures)
            self.index.save(self.folder)
            self._rows, self._waiting = [], 0

    def _check(self, plan: DatasetIndex) -> None:
        """Refuse to go on with something else than was begun."""
        known = None not in (self.index.pictures, plan.pictures)
        if not known or plan.cameras != self.index.cameras:
            plan = replace(plan, pictures=self.index.pictures)
        if self.index.instructions is None:
            plan = replace(plan, instructions=None)
        plan = replace(plan, fingerprint=_digest(plan, self.state))
        old, new = asdict(replace(self.index, shards=())), asdict(plan)
        names = [name for name in new if new[name] != old[name]]
        if names:
            names = [name for name in names if name != "fingerprint"] or names
            raise ValueError(
                f"{self.folder} was extracted from other recordings or in another way (other "
                f"{', '.join(names)}). Choose another --out, or delete that folder."
            )

    def _load_state(self) -> dict[str, Tensor]:
        file = self.folder / STATE
        return load_file(file) if file.is_file() else {}


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    """Write a safetensors file, whole or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    save_tensors(tensors, partial)
    os.replace(partial, file)


def _digest(plan: DatasetIndex, state: Mapping[str, Tensor]) -> str:
    """A fingerprint of what was agreed, of instructions if known, and of the fitted tensors."""
    agreed = json.loads(plan.fingerprint)
    if plan.instructions is not None:
        agreed.append(plan.instructions)
    digest = hashlib.sha256(json.dumps(agreed).encode())
    for name in sorted(state):
        digest.update(json.dumps([name, list(state[name].shape)]).encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
