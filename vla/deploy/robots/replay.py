"""ReplayRobot: shows what a recorded robot saw, and writes down what it is told.

It goes through one episode of a dataset, a frame for every period, wherever the commands would have
led: an open loop, to look at a policy, a loop or a recorder with a real robot's data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from rvq_action.data.dataset import RobotDataset
from rvq_action.data.mapping import Mapping
from vla.data.cameras import find_cameras
from vla.deploy.robots.protocol import RobotDescription, RobotError, RobotObservation
from vla.deploy.safety.limits import Limits
from vla.images import Image


class ReplayRobot:
    """One episode of a LeRobotDataset.

    Args:
        dataset: Its folder.
        episode: Its number.
        mapping: From its features to a layout, where the dataset's own is not to be used.
        cameras: Which to show; all where None.
        limits: What the robot may be told.
        now: The time of the loop.

    Attributes:
        recorded: float32 [N, D], the actions of the episode.
        told: What the robot was sent, by frame; None where it was held.

    Raises:
        FileNotFoundError: There is no dataset.
        IndexError: It has no such episode.
        ValueError: It is damaged, or lacks a camera.
    """

    def __init__(
        self,
        dataset: str | Path,
        episode: int = 0,
        mapping: Mapping | str | Path | None = None,
        cameras: list[str] | None = None,
        limits: Limits | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        data = RobotDataset.open(dataset, mapping)
        self._reader, self._number, self._now = data.reader, episode, now
        self._reader.episode_length(episode)
        self._episode = data.episodes[episode]
        self._features = find_cameras(data.reader, cameras)
        features = data.reader.features
        sizes = {n: tuple(features[f]["shape"][:2]) for n, f in self._features.items()}
        told = data.mapping, data.fps, sizes, limits
        self.description = RobotDescription.mapped(*told, live_cameras=False)
        self.recorded = self._episode.actions
        self.told: list[np.ndarray | None] = []
        self._films: dict[str, Iterator[Image]] = {}
        self._shown: dict[str, Image] = {}
        self._frame = -1

    @property
    def is_over(self) -> bool:
        """Whether the last frame has been shown and answered."""
        return len(self.told) >= len(self._episode)

    def connect(self) -> None:
        """Go back to the first frame."""
        times = self._reader.episode(self._number)["timestamp"]
        self._films = {
            name: self._reader.stream_frames(self._number, feature, times)
            for name, feature in self._features.items()
        }
        self.told, self._frame = [], -1

    def observe(self) -> RobotObservation:
        """The frame of this period; the last one for as long as anybody looks."""
        if not self._films and self._features:
            raise RobotError("The robot is not connected.")
        wanted = min(len(self.told), len(self._episode) - 1)
        while self._frame < wanted:
            self._shown = {name: next(film) for name, film in self._films.items()}
            self._frame += 1
        known = self._episode.proprio_mask
        proprio = np.where(known, self._episode.proprio[wanted], np.float32(np.nan))
        return RobotObservation(self._now(), proprio, self._shown)

    def send(self, command: np.ndarray) -> None:
        self._answer(command)

    def hold(self, command: np.ndarray | None) -> None:
        self._answer(None)

    def stop(self) -> None:
        """Nothing moves here."""

    def disconnect(self) -> None:
        self._films = {}

    def _answer(self, command: np.ndarray | None) -> None:
        if not self.is_over:
            self.told.append(command)

    def errors(self) -> np.ndarray:
        """float64 [n, D]: what was sent less what was recorded; NaN where the robot was held."""
        nothing = np.full(self.description.layout.width, np.nan)
        told = [nothing if command is None else command for command in self.told]
        count = min(len(told), len(self.recorded))
        return np.array(told[:count]).reshape(count, -1) - self.recorded[:count]
