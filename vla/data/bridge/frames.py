"""The frames that questions show, as files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from rvq_action.data.dataset import RobotDataset
from vla.data.bridge.question import Question
from vla.data.cameras import find_cameras
from vla.images import Image

QUALITY = 92


def frame_file(dataset: RobotDataset, question: Question, camera: str, frame: int) -> str:
    """Where a frame of a question lies, relative to the folder of the samples."""
    return f"images/{dataset.name}/{question.episode:06d}-{camera}-{frame:06d}.jpg"


def write_frames(
    dataset: RobotDataset, shown: Sequence[tuple[Question, str]], folder: Path, progress: bool
) -> None:
    """Every frame that is shown, in one pass over the video of each episode and camera."""
    wanted: dict[tuple[int, str], set[int]] = defaultdict(set)
    files: dict[tuple[int, str, int], Path] = {}
    for question, camera in shown:
        wanted[question.episode, camera] |= set(question.frames)
        for frame in question.frames:
            name = frame_file(dataset, question, camera, frame)
            files[question.episode, camera, frame] = folder / name
    (folder / "images" / dataset.name).mkdir(parents=True, exist_ok=True)
    keys = find_cameras(dataset.reader)
    bar = tqdm(sorted(wanted.items()), f"{dataset.name} frames", unit="video", disable=not progress)
    for (episode, camera), numbers in bar:
        frames = sorted(numbers)
        times = dataset.reader.episode(episode)["timestamp"][frames]
        images = dataset.reader.stream_frames(episode, keys[camera], times)
        for frame, image in zip(frames, images, strict=True):
            save_picture(image, files[episode, camera, frame])


def save_picture(image: Image, file: Path) -> None:
    """Write a JPEG."""
    from PIL import Image as Pillow

    Pillow.fromarray(image).save(file, quality=QUALITY)
