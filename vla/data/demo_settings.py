"""DemoSettings: what a set of demonstrations is made of."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vla.deploy.robots.metaworld_tasks import check_tasks

MAX_ATTEMPTS = 20
LONGEST_EPISODE = 500
"""Steps after which Meta-World's simulator refuses to go on."""


@dataclass(frozen=True)
class DemoSettings:
    """Settings that decide what is recorded, bit for bit.

    The frame rate is nominal. Every control step is one frame, and the simulator runs 80 of them
    per second of its own time, moving the hand by up to 0.8 m/s: an expert is done in 0.4 to 1.6
    of these seconds. At 20 Hz the same motion takes 2 to 7 s at 0.2 m/s at most, as a real arm
    would, and a one-second chunk is 20 actions instead of the whole episode.

    Attributes:
        tasks: Meta-World's task names.
        episodes: Demonstrations per task.
        seed: Decides every start.
        image_size: Height and width of the pictures in pixels, even.
        cameras: Meta-World's cameras.
        fps: Control steps that count as one second.
        max_steps: An attempt longer than this has failed.
        look_alike: Record tasks that only the instruction tells apart, see look_alike.py.
    """

    tasks: tuple[str, ...]
    episodes: int
    seed: int = 0
    image_size: int = 224
    cameras: tuple[str, ...] = ("corner3", "gripperPOV")
    fps: int = 20
    max_steps: int = 200
    look_alike: bool = False

    def __post_init__(self) -> None:
        check_tasks(self.tasks, self.look_alike)
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"Name at least one camera, each once; got {list(self.cameras)}.")
        if min(self.episodes, self.fps) < 1 or self.seed < 0:
            raise ValueError("episodes and fps start at 1, seed at 0.")
        if self.image_size < 16 or self.image_size % 2:
            raise ValueError(f"image_size is an even number from 16 on, got {self.image_size}.")
        if not 1 <= self.max_steps < LONGEST_EPISODE:
            raise ValueError(f"max_steps is below {LONGEST_EPISODE}, got {self.max_steps}.")

    def seeds(self, task: str, episode: int) -> list[int]:
        """The starts to try for one demonstration, the same whatever else is recorded."""
        key = [self.seed, zlib.crc32(task.encode()), episode]
        return [int(s) for s in np.random.SeedSequence(key).generate_state(MAX_ATTEMPTS)]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for json."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def recording(self) -> dict[str, Any]:
        """The part of the settings that decides a single demonstration."""
        return {k: v for k, v in self.to_dict().items() if k not in ("tasks", "episodes", "fps")}
