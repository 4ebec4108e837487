"""What is meant where a robot's LeRobot configuration is silent.

LeRobot's own defaults let an arm fall in the end, and count joints in degrees or in percent as each
robot and version has it. Two arms have each a part of their own, or fields with a prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from rvq_action.data.mapping import Mapping as ChannelMapping
from vla.deploy.rates import rate_channels

POWER_OFF = "disable_torque_on_disconnect"
"""LeRobot's word for letting an arm fall when it is disconnected, which is what it does unasked."""
DEGREES = "use_degrees"
"""LeRobot's word for joints in degrees; else they are in percent of their calibrated range."""
UNITS = {True: ("deg", "degrees"), False: ("normalized",)}
"""A mapping's words for the same."""


class Unsaid(NamedTuple):
    """A field that nobody spoke of: its part of the configuration, its name, its place in words."""

    part: Any
    name: str
    path: str


def keep_power(config: Any, given: Mapping[str, Any]) -> None:
    """Let the motors of every arm stay on in the end that nobody said the opposite of.

    Args:
        config: As LeRobot decoded it.
        given: What was said.
    """
    for part, name, _ in _unsaid(config, given, POWER_OFF):
        setattr(part, name, False)


def check_unit(config: Any, given: Mapping[str, Any], mapping: ChannelMapping) -> None:
    """Hold LeRobot's default unit of joints against that of the recordings.

    Args:
        config, given: As for `keep_power`.
        mapping: Of the recordings.

    Raises:
        ValueError: It is another one, and nobody said which is meant.
    """
    units = _joint_units(mapping)
    for part, name, path in _unsaid(config, given, DEGREES):
        default = bool(getattr(part, name))
        if units - set(UNITS[default]):
            raise ValueError(
                f"Say `{path}`, as it was when the recordings were made: LeRobot means {default} "
                f"where nothing is said, and the mapping of {mapping.embodiment!r} counts joints "
                f"in {sorted(units)}."
            )


def _joint_units(mapping: ChannelMapping) -> set[str]:
    """In which the recordings have whatever is neither a gripper nor a velocity."""
    layout, rates = mapping.layout, rate_channels(mapping.layout)
    return {
        term.unit or layout.channels[i].unit
        for term in mapping.action
        for i in term.channels(layout)
        if not rates[i] and layout.channels[i].unit != "gripper"
    }


def _unsaid(config: Any, given: Mapping[str, Any], word: str, place: str = "") -> Iterator[Unsaid]:
    """Fields whose names end in a word, of a configuration and its parts, that were not given."""
    for field in fields(config) if is_dataclass(config) else ():
        value, said = getattr(config, field.name), given.get(field.name)
        if is_dataclass(value):
            told = said if isinstance(said, Mapping) else {}
            yield from _unsaid(value, told, word, f"{place}{field.name}.")
        elif field.name.endswith(word) and field.name not in given:
            yield Unsaid(config, field.name, f"{place}{field.name}")
