"""RobotSource: one LeRobotDataset as a policy is to see it, a window and its pictures at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rvq_action.chunk import ActionChunk
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.episode import Episode
from rvq_action.data.idle import IdleRule
from rvq_action.data.split import Split
from rvq_action.data.windows import Windows, horizon_frames
from vla.action_tokens import ActionTokens
from vla.config import VLAConfig
from vla.data.cameras import find_cameras
from vla.data.frames import FrameStore
from vla.data.instructions import Script
from vla.data.splits import choose_split
from vla.images import Image

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RobotSource:
    """The windows of a dataset's training episodes, or of those that are held out.

    Attributes:
        dataset: The dataset.
        split: Training and held-out episodes, of which `windows` has one part alone.
        windows: About a second each, at the dataset's rate; tails are masked.
        scripts: Episode -> what is told when.
        cameras: The policy's name of a camera -> the dataset's feature.
        frames: The pictures of those cameras.
    """

    dataset: RobotDataset
    split: Split
    windows: Windows
    scripts: dict[int, Script]
    cameras: dict[str, str]
    frames: FrameStore

    @classmethod
    def open(
        cls,
        path: str | Path,
        config: VLAConfig,
        tokenizer: ActionTokens,
        mapping: str | None = None,
        seconds: float | None = None,
        part: Literal["train", "held_out"] = "train",
    ) -> RobotSource:
        """Open a dataset for a policy.

        Args:
            path: Its folder.
            config: The policy's, which says what cameras the robot has.
            tokenizer: The policy's; its recorded split is kept to.
            mapping: Of the dataset; its own where None.
            seconds: Of a chunk; the tokenizer's where None, else one.
            part: Of the episodes; windows in which nothing moves are left out of training alone.

        Raises:
            FileNotFoundError: It is no dataset, or a part is missing.
            ValueError: It is damaged, of a robot, layout or cameras that the policy does not have,
                or tells nothing.
        """
        dataset = RobotDataset.open(path, mapping)
        check_robot(dataset, tokenizer)
        cameras = find_cameras(dataset.reader, config.cameras[dataset.embodiment])
        split = choose_split(dataset, tokenizer.metadata)
        scripts = {i: Script.read(dataset.reader, i) for i in getattr(split, part)}
        told = _told(dataset, scripts)
        horizon = horizon_frames(dataset.fps, seconds or tokenizer.seconds)
        windows = Windows(told, horizon, tails=True, idle=IdleRule() if part == "train" else None)
        times = {i: script.times for i, script in scripts.items()}
        frames = FrameStore(dataset.reader, cameras, config.image_size, times)
        return cls(dataset, split, windows, scripts, cameras, frames)

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def embodiment(self) -> str:
        return self.dataset.embodiment

    def chunk(self, indices: Sequence[int]) -> ActionChunk:
        """The windows' actions and what the robot knows of itself before them."""
        return self.windows.chunk(indices)

    def instruction(self, index: int, step_share: float, rng: np.random.Generator) -> str:
        """What is told at a window's first frame, see `Script.choose`."""
        script = self.scripts[self.windows.episode_of(index)]
        return script.choose(self.windows.start_of(index), step_share, rng)

    def images(self, index: int) -> dict[str, Image]:
        """Camera -> its picture at a window's first frame, of the policy's size."""
        return self.frames.at(self.windows.episode_of(index), self.windows.start_of(index))


def check_robot(dataset: RobotDataset, tokenizer: ActionTokens) -> None:
    """Refuse a dataset that a tokenizer cannot code.

    Raises:
        ValueError: The tokenizer does not know its robot, or in another layout.
    """
    name = dataset.embodiment
    if name not in tokenizer.embodiments:
        raise ValueError(
            f"{dataset.path} is of the robot {name!r}, but the action tokenizer knows "
            f"{sorted(tokenizer.embodiments)}. Train it on this dataset too; or give the --mapping "
            "that it was trained with, if it is the same robot."
        )
    known = tokenizer.layout(name)
    if known != dataset.layout:
        raise ValueError(
            f"{dataset.path} is read in layout {dataset.layout.name!r} "
            f"({', '.join(dataset.layout.names)}), but the action tokenizer was trained on "
            f"{name!r} in {known.name!r} ({', '.join(known.names)}). Give the mapping "
            "that it was trained with."
        )


def _told(dataset: RobotDataset, scripts: dict[int, Script]) -> list[Episode]:
    """The episodes in which something is told at every frame."""
    told = [dataset.episodes[i] for i, script in scripts.items() if not script.silent]
    if not told:
        raise ValueError(
            f"{dataset.path} tells no task in these episodes, so there is nothing to "
            "instruct a policy with. Write the task of each episode into the dataset."
        )
    left_out = len(scripts) - len(told)
    if left_out:
        logger.warning("%s: %d episodes tell no task and are left out.", dataset.path, left_out)
    return told
