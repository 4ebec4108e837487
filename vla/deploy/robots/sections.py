"""Reading a robot's YAML, strictly: what every kind has, and what only one has. See config.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rvq_action.data.mapping import Mapping
from rvq_action.data.strict import check_keys, flag, number, numbers, text, texts, whole
from vla.deploy.robots.kinds import (
    LeRobotConfig,
    MappingSource,
    MetaWorldConfig,
    RemoteConfig,
    ReplayConfig,
    RobotConfig,
)
from vla.deploy.safety.limits import Limits

COMMON = ("rate", "mapping", "cameras")
Reader = Callable[[Any, str], Any]
"""Takes a value and its place; raises a ValueError where it is none."""


class Source(NamedTuple):
    """A robot's words.

    Attributes:
        data: All of them.
        own: The section of its kind.
        where: Their place, for errors.
        folder: Of the files that they name.
    """

    data: dict[str, Any]
    own: Any
    where: str
    folder: Path

    def get(self, key: str, read: Reader, default: Any = None) -> Any:
        """What every kind has; the default where it is not said."""
        return read(self.data[key], f"{self.where}: {key}") if key in self.data else default

    def section(self, needed: dict[str, tuple[Reader, str]], **others: Reader) -> dict[str, Any]:
        """What only this kind has, by name.

        Args:
            needed: How each is read, and what it holds.
            others: How those are read that may be left out.
        """
        place = f"{self.where}: {self.data['kind']}"
        told = {key: words for key, (_, words) in needed.items()}
        found = check_keys(self.own, place, told, list(others))
        readers = {key: read for key, (read, _) in needed.items()} | others
        return {key: readers[key](value, f"{place}.{key}") for key, value in found.items()}

    @property
    def limits(self) -> Limits:
        given = self.data.get("limits", {})
        if isinstance(given, str):
            return Limits.from_yaml(self.folder / given)
        return Limits.from_dict(given, f"{self.where}: limits", self.folder)

    @property
    def mapping(self) -> MappingSource | None:
        if isinstance(self.data.get("mapping"), dict):
            return Mapping.from_dict(self.data["mapping"], f"{self.where}: mapping")
        given = self.get("mapping", text)
        is_file = given is not None and Path(given).suffix in (".yaml", ".yml")
        return self.folder / given if is_file else given

    @property
    def common(self) -> dict[str, Any]:
        """What all but recordings have."""
        rate = self.get("rate", positive)
        return {"rate": rate, "mapping": self.mapping, "limits": self.limits}


class Section(NamedTuple):
    """A kind of robot: whether it is of metal, and how its words are read."""

    is_real: bool
    read: Callable[[Source], RobotConfig]


def _metaworld(source: Source) -> RobotConfig:
    needed: dict[str, tuple[Reader, str]] = {"task": (text, "the name of a task")}
    own = source.section(needed, seed=whole, image_size=whole, look_alike=flag)
    return MetaWorldConfig(**own, **source.common, cameras=source.get("cameras", texts))


def _replay(source: Source) -> RobotConfig:
    own = source.section({"dataset": (text, "its folder")}, episode=whole)
    if "rate" in source.data:
        raise ValueError(f"{source.where}: a recording has its own rate; leave out `rate`.")
    own["dataset"] = source.folder / own["dataset"]
    cameras = source.get("cameras", texts)
    return ReplayConfig(**own, mapping=source.mapping, limits=source.limits, cameras=cameras)


def _lerobot(source: Source) -> RobotConfig:
    example = "as LeRobot writes it, {type: so101_follower, port: ...}"
    own = source.section({"robot": (_robot, example)}, modules=texts, motors=_names)
    columns, cameras = source.get("columns", _lists, {}), source.get("cameras", _names)
    return LeRobotConfig(**own, **source.common, columns=columns, cameras=cameras)


def _remote(source: Source) -> RobotConfig:
    more: dict[str, Reader] = {
        "time": text,
        "host": text,
        "port": whole,
        "key_variable": text,
        "patience_s": positive,
    }
    own = source.section({"state": (text, "the key of its state")}, **more)
    columns, cameras = source.get("columns", _lists, {}), source.get("cameras", _views, {})
    keys, sizes = ({name: view[i] for name, view in cameras.items()} for i in (0, 1))
    return RemoteConfig(**own, **source.common, columns=columns, keys=keys, sizes=sizes)


def positive(value: Any, where: str) -> float:
    """One number above 0, or a ValueError."""
    if not (found := number(value, where)) > 0:
        raise ValueError(f"{where} must be positive, got {found}.")
    return found


def _robot(value: Any, where: str) -> dict[str, Any]:
    return check_keys(value, where, {"type": "LeRobot's name of it"}, _any(value))


def _views(value: Any, where: str) -> dict[str, tuple[str, tuple[int, int]]]:
    found = {}
    for name, entry in check_keys(value, where, optional=_any(value)).items():
        place = f"{where}.{name}"
        entry = check_keys(entry, place, {"key": "in its messages", "size": "[height, width]"})
        size = [whole(int(side), f"{place}.size", 1) for side in numbers(entry["size"], 2, place)]
        found[name] = text(entry["key"], f"{place}.key"), (size[0], size[1])
    return found


def _names(value: Any, where: str) -> dict[str, str]:
    data = check_keys(value, where, optional=_any(value))
    return {name: text(other, f"{where}.{name}") for name, other in data.items()}


def _lists(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    data = check_keys(value, where, optional=_any(value))
    return {name: texts(entries, f"{where}.{name}") for name, entries in data.items()}


def _any(value: Any) -> list[str]:
    """The keys of a map that may have any."""
    return list(value) if isinstance(value, dict) else []


SECTIONS = {
    "metaworld": Section(False, _metaworld),
    "replay": Section(False, _replay),
    "lerobot": Section(True, _lerobot),
    "remote": Section(True, _remote),
}
