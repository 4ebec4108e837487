"""RobotDataset: a dataset's episodes in a layout, ready to be cut into windows."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from rvq_action.data.episode import Episode
from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.mapping import Mapping
from rvq_action.data.recorded_speed import tell_speed
from rvq_action.data.resolve import resolve_mapping
from rvq_action.data.task_text import is_placeholder
from rvq_action.layout import ActionLayout


class RobotDataset:
    """A LeRobotDataset read through a mapping.

    Args:
        reader: The dataset on disk.
        mapping: From its features to a layout.
    """

    def __init__(self, reader: LeRobotReader, mapping: Mapping) -> None:
        self.reader = reader
        self.mapping = mapping

    @classmethod
    def open(cls, path: str | Path, mapping: Mapping | str | Path | None = None) -> RobotDataset:
        """Open a dataset; its mapping is found as `resolve_mapping` says.

        One that was recorded slowly is warned of.

        Raises:
            FileNotFoundError: It is no dataset, or a part is missing.
            ValueError: It is damaged, empty, or no mapping fits.
        """
        reader = LeRobotReader(path)
        tell_speed(reader.path)
        return cls(reader, resolve_mapping(reader, mapping).with_columns(reader.channel_names))

    @property
    def path(self) -> Path:
        return self.reader.path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def layout(self) -> ActionLayout:
        return self.mapping.layout

    @property
    def embodiment(self) -> str:
        return self.mapping.embodiment

    @property
    def fps(self) -> float:
        return self.reader.fps

    @cached_property
    def episodes(self) -> list[Episode]:
        """All episodes, read once.

        Raises:
            ValueError: A file is damaged, or a value is NaN or infinite (names the place).
        """
        return [self._episode(index) for index in range(self.reader.num_episodes)]

    def _episode(self, index: int) -> Episode:
        columns, names = self.reader.episode(index), self.reader.channel_names
        try:
            actions = self.mapping.read_actions(columns, names)
            proprio = self.mapping.read_proprio(columns, names)
        except ValueError as error:
            raise ValueError(f"{self.path}, episode {index}: {error}") from error
        task = next(iter(self.reader.episode_tasks(index)), "")
        return Episode(
            index,
            "" if is_placeholder(task) else task,
            self.fps,
            self.embodiment,
            self.layout,
            *actions,
            *proprio,
        )
