"""Whether the pictures and tasks of a dataset are those that a teacher looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.task_text import is_placeholder

BLOCK = 1 << 14
"""Bytes read at the head, in the middle and at the tail of a file."""


def pictures_digest(reader: LeRobotReader, cameras: Sequence[str]) -> str | None:
    """A cheap digest of the files that hold the pictures: their sizes and three blocks of each.

    Args:
        reader: The dataset.
        cameras: Names of its cameras.

    Returns:
        The digest, whatever the files are called; None where one of them is not here.
    """
    digest = hashlib.sha256()
    for file in _files(reader, cameras):
        if not file.is_file():
            return None
        size = file.stat().st_size
        digest.update(f"{size}\n".encode())
        with file.open("rb") as stream:
            for place in sorted({0, max(0, size - BLOCK) // 2, max(0, size - BLOCK)}):
                stream.seek(place)
                digest.update(stream.read(BLOCK))
    return digest.hexdigest()[:16]


def instruction(reader: LeRobotReader, episode: int) -> str:
    """The episode's first task text, empty where it has none or a placeholder."""
    task = next(iter(reader.episode_tasks(episode)), "")
    return "" if is_placeholder(task) else task


def instructions_digest(reader: LeRobotReader) -> str:
    """A digest of what all episodes are instructed by."""
    told = [instruction(reader, episode) for episode in range(reader.num_episodes)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _files(reader: LeRobotReader, cameras: Sequence[str]) -> list[Path]:
    """The videos of the cameras, or the tables that hold single images, each once."""
    spans = [(record, record.videos.get(name)) for name in cameras for record in reader.records]
    return list(dict.fromkeys(span.path if span else record.data for record, span in spans))
