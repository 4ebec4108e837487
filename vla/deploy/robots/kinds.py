"""The kinds of robots, each as the data that it is built from; see config.py.

Where its own words are silent a robot takes what its policy brings along: `Defaults`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rvq_action.data.mapping import Mapping as ChannelMapping
from rvq_action.data.resolve import load_mapping
from rvq_action.data.rows import RowMapping
from vla.deploy.robots.metaworld_tasks import INSTRUCTIONS, check_tasks
from vla.deploy.robots.protocol import Robot
from vla.deploy.safety.estop import EmergencyStop
from vla.deploy.safety.limits import Limits

MappingSource = ChannelMapping | Path | str
"""A mapping, its file, or the name of a packaged one."""
METAWORLD_HZ, METAWORLD_PIXELS, METAWORLD_CAMERAS = 20.0, 224, ("corner3", "gripperPOV")
"""Of a simulated robot that nobody says more of: those of `rvq-vla demos`."""


@dataclass(frozen=True)
class Defaults:
    """What a policy and a run bring along.

    Attributes:
        rows: The mapping of the robot's dataset, as the policy's tokenizer keeps it.
        rate: Of its chunks [Hz].
        cameras: Those of the robot that it looks through.
        image_size: Pixels per side of the pictures that it takes.
        now: The time of the loop.
        stop: That of the run: a robot with a server of its own lets calls press it.
    """

    rows: RowMapping | None = None
    rate: float | None = None
    cameras: tuple[str, ...] | None = None
    image_size: int | None = None
    now: Callable[[], float] = time.monotonic
    stop: EmergencyStop | None = None


class RobotConfig(Protocol):
    """A robot that can be built."""

    @property
    def is_real(self) -> bool:
        """Whether something may break."""
        ...

    @property
    def instruction(self) -> str:
        """What is usually said in front of it; empty where nothing is.

        Raises:
            ValueError: Nobody can say: there is no such recording.
        """
        ...

    def build(self, defaults: Defaults) -> Robot:
        """The robot, not connected yet.

        Raises:
            ValueError: Something is missing, or does not fit.
        """
        ...


@dataclass(frozen=True)
class MetaWorldConfig:
    """A simulated task."""

    task: str
    seed: int = 0
    rate: float | None = None
    image_size: int | None = None
    cameras: tuple[str, ...] | None = None
    mapping: MappingSource | None = None
    look_alike: bool = False
    limits: Limits = field(default_factory=Limits)
    is_real = False

    def __post_init__(self) -> None:
        check_tasks([self.task], self.look_alike)

    @property
    def instruction(self) -> str:
        return INSTRUCTIONS[self.task]

    def build(self, defaults: Defaults) -> Robot:
        from vla.data.metaworld_rows import metaworld_rows
        from vla.deploy.robots.metaworld import ACTION_NAMES
        from vla.deploy.robots.metaworld_arm import MetaWorldArm

        rate = self.rate or defaults.rate or METAWORLD_HZ
        rows = _rows(self.mapping, {}) if self.mapping is not None else defaults.rows
        if rows is None or rows.columns.get("action") != ACTION_NAMES:
            rows = metaworld_rows(rate)
        size = self.image_size or defaults.image_size or METAWORLD_PIXELS
        cameras = self.cameras or defaults.cameras or METAWORLD_CAMERAS
        told = self.task, rows, rate, size, cameras, self.seed
        return MetaWorldArm(*told, self.limits, self.look_alike, now=defaults.now)


@dataclass(frozen=True)
class ReplayConfig:
    """An episode of a dataset."""

    dataset: Path | str
    episode: int = 0
    cameras: tuple[str, ...] | None = None
    mapping: MappingSource | None = None
    limits: Limits = field(default_factory=Limits)
    is_real = False

    @property
    def instruction(self) -> str:
        from rvq_action.data.lerobot import LeRobotReader

        reader = LeRobotReader(self.dataset)
        with _as_value_error():
            return next(iter(reader.episode_tasks(self.episode)), "")

    def build(self, defaults: Defaults) -> Robot:
        from vla.deploy.robots.replay import ReplayRobot

        cameras = None if self.cameras is None else list(self.cameras)
        told = self.dataset, self.episode, self.mapping, cameras, self.limits
        with _as_value_error():
            return ReplayRobot(*told, now=defaults.now)


@contextlib.contextmanager
def _as_value_error() -> Iterator[None]:
    """An episode that a dataset does not have is a word of the user's, not a fault of ours."""
    try:
        yield
    except IndexError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True, kw_only=True)
class RealConfig:
    """What all robots of metal have."""

    limits: Limits
    rate: float | None = None
    mapping: MappingSource | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_real = True
    instruction = ""


@dataclass(frozen=True, kw_only=True)
class LeRobotConfig(RealConfig):
    """An arm that LeRobot drives."""

    robot: Mapping[str, Any]
    modules: tuple[str, ...] = ()
    motors: Mapping[str, str] = field(default_factory=dict)
    cameras: Mapping[str, str] | None = None

    def build(self, defaults: Defaults) -> Robot:
        from vla.deploy.robots.lerobot import LeRobotArm, build

        rows = _known_rows(self.mapping, self.columns, defaults)
        rate = _known_rate(self.rate, defaults)
        arm = build(self.robot, self.modules, rows.mapping)
        return LeRobotArm(arm, rows, rate, self.limits, self.motors, self.cameras, defaults.now)


@dataclass(frozen=True, kw_only=True)
class RemoteConfig(RealConfig):
    """A robot whose own program comes by; `key_variable` names the variable that holds its key."""

    state: str
    keys: Mapping[str, str]
    sizes: Mapping[str, tuple[int, int]]
    time: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    key_variable: str | None = None
    patience_s: float = 60.0

    def build(self, defaults: Defaults) -> Robot:
        from vla.deploy.robots.remote import RemoteRobot
        from vla.deploy.robots.remote_guest import RemoteKeys
        from vla.deploy.server.access import Address

        rows = _known_rows(self.mapping, self.columns, defaults)
        keys = RemoteKeys(self.state, self.keys, self.time)
        address = Address(self.host, self.port, self._key)
        told = rows, _known_rate(self.rate, defaults), keys, self.sizes, address
        return RemoteRobot(*told, self.limits, self.patience_s, defaults.now, defaults.stop)

    @property
    def _key(self) -> str | None:
        if self.key_variable is None:
            return None
        if not (key := os.environ.get(self.key_variable)):
            raise ValueError(
                f"The robot's key is to be in the variable {self.key_variable}, which is empty or "
                f"not set: export {self.key_variable}=..."
            )
        return key


def _known_rate(own: float | None, defaults: Defaults) -> float:
    if (rate := own or defaults.rate) is None:
        raise ValueError("Nothing says how often the robot is commanded: give its `rate` in Hz.")
    return rate


def _known_rows(
    own: MappingSource | None, columns: Mapping[str, tuple[str, ...]], defaults: Defaults
) -> RowMapping:
    if own is not None:
        return _rows(own, columns)
    if defaults.rows is None:
        raise ValueError(
            "Nothing says what the robot's numbers mean: give it the `mapping` of its dataset, a "
            "packaged name or a YAML file."
        )
    return defaults.rows


def _rows(mapping: MappingSource, columns: Mapping[str, tuple[str, ...]]) -> RowMapping:
    """A mapping that knows the order of its numbers: as told, as it says, or as it takes them.

    Raises:
        ValueError: That of a feature is not known.
    """
    known = mapping if isinstance(mapping, ChannelMapping) else load_mapping(mapping)
    if unknown := sorted(set(columns) - set(known.features)):
        raise ValueError(f"`columns` names {unknown}; the mapping reads {list(known.features)}.")

    def names(feature: str) -> tuple[str, ...]:
        return columns.get(feature) or known.columns.get(feature) or _taken(known, feature)

    return RowMapping(known.with_columns(names))


def _taken(mapping: ChannelMapping, feature: str) -> tuple[str, ...]:
    """The names that its terms take; in any order, for a robot that names its numbers."""
    terms = [t for t in (*mapping.action, *mapping.proprio) if t.feature == feature]
    taken = [name for term in terms for name in (term.take or [0])]
    if not all(isinstance(name, str) for name in taken):
        raise ValueError(
            f"The mapping of {mapping.embodiment!r} takes numbers of {feature!r} by position. Name "
            f"them all, in order: columns: {{{feature}: [...]}}."
        )
    return tuple(dict.fromkeys(str(name) for name in taken))
