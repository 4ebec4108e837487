"""A small dataset whose two cameras see different things, and teachers that look at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rvq_action.data.writer import LeRobotWriter
from tests.synthetic import FEATURES, FPS, columns
from tests.tokenizer_training.features.networks import SAVE
from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.pixels import PixelSettings, PixelTeacher

LENGTHS = (12, 9, 14, 10, 11, 8)
HEAD, WRIST = "observation.images.head", "observation.images.wrist"
SIZES = {HEAD: (32, 48), WRIST: (40, 40)}


def scene(episode: int, camera: str, length: int) -> Iterator[np.ndarray]:
    """Coloured stripes that wander, differently in every episode and camera."""
    height, width = SIZES[camera]
    speed = 1 + episode + 3 * (camera == WRIST)
    place = np.arange(width) / width
    for frame in range(length):
        waves = [np.sin(6 * place * (k + 1) + 0.1 * speed * frame + episode) for k in range(3)]
        row = (127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)
        yield np.broadcast_to(row, (height, width, 3))


def write(
    path: Path,
    lengths: tuple[int, ...] = LENGTHS,
    change: tuple[int, ...] = (),
    tasks: tuple[str, ...] = ("pick", "unlabelled"),
) -> Path:
    """A dataset; episodes in `change` show other things, and they do the tasks in turn."""
    with LeRobotWriter(path, FPS, FEATURES, "test_arm", SIZES) as writer:
        for i, length in enumerate(lengths):
            shown = {c: scene(i + 50 * (i in change), c, length) for c in SIZES}
            writer.add_episode(columns(length, i), shown, task=tasks[i % len(tasks)])
    return path


@pytest.fixture(scope="session")
def recordings(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("features") / "stripes")


@pytest.fixture
def pictures(recordings) -> Pictures:
    return Pictures.open(recordings)


@pytest.fixture
def pixels() -> PixelTeacher:
    return PixelTeacher(PixelSettings(side=8, components=6, fit_frames=24))


@pytest.fixture(scope="session")
def networks(tmp_path_factory) -> dict[str, Path]:
    """Folders of tiny networks by name."""
    folder = tmp_path_factory.mktemp("networks")
    return {name: save(folder / name) for name, save in SAVE.items()}
