"""Mapping: from a dataset's features to a layout, as data (a YAML file, or a dict in an artefact).

```yaml
embodiment: droid_franka            # the key of its statistics
robot_types: [franka_robotiq_droid] # a packaged mapping applies by itself to these robots
layout: wall_26                     # or one of your own, below
action:                             # one term per group of the layout; groups left out are masked
  right_arm/position: {feature: action, take: [x, y, z], unit: mm}
  right_arm/rotation: {feature: action, take: [roll, pitch, yaw], rotation: euler_xyz}
  right_arm/gripper: {feature: action, take: [gripper], closed: 1, open: 0}
proprio: {...}                      # the same, for the anchor: the robot's state
frames: {right_arm: {base: {...}, tool: {...}}} # fixed changes of frame, see frames.py
columns: {action: [x, y, ...]}      # names of a feature's numbers; filled in from the dataset
```

A layout of your own names its groups as part/quantity, and of each group the channels:

```yaml
layout:
  name: my_arm
  groups:
    arm/position: {channels: [shoulder, elbow, wrist], unit: rad, delta: subtract}
    arm/gripper: {channels: [gripper], unit: gripper, delta: raw}
    tool/position: {channels: [tool_x, tool_y, tool_z], unit: m, delta: se3}
    tool/rotation: {channels: [r0, r1, r2, r3, r4, r5], unit: rot6d, delta: so3}
```

`unit` says what the channels hold after the mapping: m, rad, m/s, rad/s (a term's `unit` converts
mm, cm, deg and their rates to them), gripper (0 closed, 1 open; a term's `closed` and `open`
convert), rot6d (six channels; a term's `rotation` converts), or free text, which nothing converts.
`delta` says what the channels are relative to: `subtract` the robot's state, `so3` its rotation
(for rot6d), `se3` its pose (for a position whose part has a rot6d), or `raw` nothing. All but raw
need the state under `proprio`. The terms' other keys are described in term.py.
"""

from __future__ import annotations

from collections.abc import Mapping as ColumnMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rvq_action.data.frames import FrameChange
from rvq_action.data.layout_schema import layout_from_data, layout_to_data
from rvq_action.data.strict import check_keys, texts
from rvq_action.data.term import Names, Term
from rvq_action.data.yaml_file import read_yaml
from rvq_action.layout import ActionLayout, DeltaRule

Columns = ColumnMapping[str, np.ndarray]
"""Arrays [N, W] (or [N]) by feature."""
REQUIRED_KEYS = {
    "embodiment": "a name of your choice",
    "layout": "wall_26, or {name: ..., groups: {...}}",
    "action": "{group of the layout: {feature: ..., take: [...]}}",
}
"""What the keys hold, for error messages."""
OPTIONAL_KEYS = ("proprio", "frames", "robot_types", "columns")


class MappedColumns(NamedTuple):
    """What a mapping makes of an episode's columns.

    Attributes:
        values: [N, D] float32 in the layout's units and frames, 0 where absent.
        mask: [D] bool, True where the mapping fills the channel.
    """

    values: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Mapping:
    """From a dataset's features to a layout and back.

    Attributes:
        embodiment: Name of the embodiment.
        layout: The layout.
        action: The terms of the actions.
        proprio: The terms of the anchor: the robot's state in the layout's channels.
        frames: Fixed changes of frame, for actions and proprio alike.
        robot_types: The robots whose datasets a packaged mapping applies to.
        columns: Names of the numbers of every feature it reads, where a dataset told them.
    """

    embodiment: str
    layout: ActionLayout
    action: tuple[Term, ...]
    proprio: tuple[Term, ...] = ()
    frames: tuple[FrameChange, ...] = ()
    robot_types: tuple[str, ...] = ()
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.embodiment, str) or not self.embodiment:
            raise ValueError(f"`embodiment` must be a name, got {self.embodiment!r}.")
        if not self.action:
            raise ValueError("`action` is empty: no channel would be filled.")
        without_origin = [
            self.layout.names[i]
            for i in sorted(self._filled(self.action) - self._filled(self.proprio))
            if self.layout.channels[i].delta is not DeltaRule.RAW
        ]
        if without_origin:
            raise ValueError(
                f"{without_origin} are relative to the proprio anchor, but `proprio` does not fill "
                "them. Name their source there, or use `delta: raw`."
            )
        without_pose = [c.part for c in self.frames if c not in self._frames_of(self.action)]
        if without_pose:
            raise ValueError(f"`frames` names {without_pose}, but `action` fills no pose of them.")
        known, whole = self._filled(self.proprio), self._frames_of(self.proprio)
        partly = [c.part for c in self.frames if c not in whole and known & {*self._pose(c)}]
        if partly:
            raise ValueError(
                f"`frames` names {partly}, but `proprio` fills only a part of the pose: it would "
                "stay in another frame than the action. Name the source of the whole pose there, "
                "position and rotation, or of neither and use `delta: raw`."
            )

    @classmethod
    def from_yaml(cls, path: str | Path) -> Mapping:
        """Read a mapping file.

        Raises:
            FileNotFoundError: The file is not there.
            ValueError: It is no YAML, has an unknown key, or does not fit its layout.
        """
        return cls.from_dict(read_yaml(path), str(path))

    @classmethod
    def from_dict(cls, data: Any, where: str = "mapping") -> Mapping:
        """Parse the dict form; `where` names it in errors."""
        data = check_keys(data, where, REQUIRED_KEYS, OPTIONAL_KEYS)
        try:
            return cls(
                data["embodiment"],
                layout_from_data(data["layout"], "layout"),
                _entries(Term, data, "action"),
                _entries(Term, data, "proprio"),
                _entries(FrameChange, data, "frames"),
                tuple(data.get("robot_types") or ()),
                _columns(data.get("columns") or {}),
            )
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Inverse of `from_dict`; plain data, for JSON or YAML."""
        return {
            "embodiment": self.embodiment,
            "robot_types": list(self.robot_types),
            "layout": layout_to_data(self.layout),
            "action": {term.target: term.to_dict() for term in self.action},
            "proprio": {term.target: term.to_dict() for term in self.proprio},
            "frames": {change.part: change.to_dict() for change in self.frames},
            "columns": {feature: list(names) for feature, names in self.columns.items()},
        }

    def decisive(self) -> dict[str, Any]:
        """All that decides which numbers are read as what; JSON types.

        Names of robots decide nothing, and neither do those of columns where their places are
        known: `take` is places here.
        """
        data = {"layout": layout_to_data(self.layout), "embodiment": self.embodiment}
        for section, terms in (("action", self.action), ("proprio", self.proprio)):
            data[section] = {term.target: self._in_places(term) for term in terms}
        return {**data, "frames": {change.part: change.to_dict() for change in self.frames}}

    def with_columns(self, names: Names) -> Mapping:
        """The same mapping that knows the names of the numbers it reads."""
        return replace(self, columns={feature: names(feature) for feature in self.features})

    @property
    def features(self) -> tuple[str, ...]:
        """The dataset's features that are read."""
        return tuple(dict.fromkeys(term.feature for term in (*self.action, *self.proprio)))

    def read_actions(self, columns: Columns, names: Names) -> MappedColumns:
        """The actions of an episode.

        Args:
            columns: Arrays [N, W] (or [N]) by feature.
            names: From a feature to the names of its numbers (`LeRobotReader.channel_names`).

        Raises:
            ValueError: A value is NaN or infinite, or a feature does not have the stated numbers.
        """
        return self._read(self.action, columns, names)

    def read_proprio(self, columns: Columns, names: Names) -> MappedColumns:
        """The anchors of an episode, one for every frame; arguments as in `read_actions`."""
        return self._read(self.proprio, columns, names)

    def write_actions(self, actions: np.ndarray, names: Names) -> dict[str, np.ndarray]:
        """Inverse of `read_actions`: what to command a robot that speaks the dataset's language.

        Args:
            actions: [N, D] absolute, in the layout's units and frames.
            names: From a feature to the names of its numbers.

        Returns:
            [N, W] float32 by feature; numbers that no term reads are NaN.
        """
        values = torch.from_numpy(np.asarray(actions, dtype=np.float64))
        for change in self._frames_of(self.action):
            values = change.invert(values, self.layout)
        columns: dict[str, np.ndarray] = {}
        for term in self.action:
            empty = np.full((len(values), len(names(term.feature))), np.nan, dtype=np.float32)
            column = columns.setdefault(term.feature, empty)
            written = term.write(values[:, term.channels(self.layout)], self.layout)
            column[:, term.positions(names)] = written.numpy()
        return columns

    def _read(self, terms: tuple[Term, ...], columns: Columns, names: Names) -> MappedColumns:
        frames = len(next(iter(columns.values())))
        values = torch.zeros(frames, self.layout.width, dtype=torch.float64)
        for term in terms:
            values[:, term.channels(self.layout)] = term.read(columns, names, self.layout)
        for change in self._frames_of(terms):
            values = change.apply(values, self.layout)
        mask = np.zeros(self.layout.width, dtype=bool)
        mask[sorted(self._filled(terms))] = True
        return MappedColumns(values.float().numpy(), mask)

    def _in_places(self, term: Term) -> dict[str, Any]:
        """A term whose columns go by their places, where these are known."""
        if term.feature not in self.columns:
            return term.to_dict()
        return {**term.to_dict(), "take": term.positions(self.columns.__getitem__)}

    def _frames_of(self, terms: tuple[Term, ...]) -> list[FrameChange]:
        """The changes of frame that apply to these terms: those of parts they fill."""
        filled = self._filled(terms)
        return [c for c in self.frames if filled.issuperset(self._pose(c))]

    def _pose(self, change: FrameChange) -> list[int]:
        """The channels that a change of frame turns."""
        position, rotation = change.blocks(self.layout)
        return [*position, *rotation]

    def _filled(self, terms: tuple[Term, ...]) -> set[int]:
        filled: set[int] = set()
        for term in terms:
            term.check(self.layout)
            channels = term.channels(self.layout)
            if filled.intersection(channels):
                raise ValueError(f"{term.target!r} is filled twice.")
            filled.update(channels)
        return filled


def _entries(kind: type[Term] | type[FrameChange], data: dict[str, Any], key: str) -> tuple:
    """The entries of one section, each under its target."""
    section = data.get(key) or {}
    items = check_keys(section, f"`{key}`", optional=list(section)).items()
    return tuple(kind.from_dict(name, entry, f"{key}.{name}") for name, entry in items)


def _columns(data: Any) -> dict[str, tuple[str, ...]]:
    features = check_keys(data, "`columns`", optional=list(data)).items()
    return {feature: texts(names, f"columns.{feature}") for feature, names in features}
