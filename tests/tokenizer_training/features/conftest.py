"""A small dataset whose two cameras see different things, and teachers that look at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.writer import LeRobotWriter
from tests.synthetic import FEATURES, FPS, columns
from tests.tokenizer_training.features.networks import SAVE
from tokenizer_training.features.components import principal_components
from tokenizer_training.features.pictures import Pictures
from tokenizer_training.features.pixels import PixelSettings, PixelTeacher, shrink

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


def by_hand(
    pictures: Pictures, settings: PixelSettings, train: Sequence[int], stride: int, batch_size: int
) -> list[Tensor]:
    """[rows, cameras, W] of every episode, from all pictures at once: small ones, then components.

    Of all training frames, end to end, it is fitted on so many that are spread evenly.
    """
    numbers = [np.arange(length) for length in pictures.lengths]
    small = [
        {c: shrink(v, settings.side) for c, v in next(pictures.batches(i, n, len(n))).items()}
        for i, n in enumerate(numbers)
    ]
    views = []
    for camera in pictures.cameras:
        seen = torch.cat([small[i][camera] for i in train])
        count = min(settings.fit_frames, len(seen))
        chosen = sorted({round(x) for x in np.linspace(0, len(seen) - 1, count).tolist()})
        mean, components = principal_components(seen[chosen], settings.components)
        batches = [episode[camera][::stride].split(batch_size) for episode in small]
        views.append([torch.cat([(b - mean) @ components for b in parts]) for parts in batches])
    return [torch.stack(cameras, dim=1) for cameras in zip(*views, strict=True)]


@pytest.fixture
def decoded(monkeypatch) -> list[tuple[str, int, float]]:
    """Camera, episode and time of every frame that is decoded, as it happens."""
    seen, real = [], LeRobotReader.stream_frames

    def stream_frames(self, index: int, camera: str, timestamps: np.ndarray) -> Iterator:
        for time, frame in zip(timestamps, real(self, index, camera, timestamps), strict=True):
            seen.append((camera, index, round(float(time), 6)))
            yield frame

    monkeypatch.setattr(LeRobotReader, "stream_frames", stream_frames)
    return seen


def episodes_decoded_again(decoded: Sequence[tuple[str, int, float]]) -> set[int]:
    """Of which a frame was decoded more than once."""
    return {episode for (_, episode, _), count in Counter(decoded).items() if count > 1}


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
