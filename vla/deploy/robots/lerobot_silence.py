"""What is meant where a robot's LeRobot configuration is silent, and whether its unit is right.

LeRobot's own defaults let an arm fall in the end, and count joints in degrees or in percent as each
robot and version has it. Two arms have each a part of their own, or fields with a prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from rvq_action.data.joint_unit import DEGREES, PERCENT
from rvq_action.data.mapping import Mapping as ChannelMapping
from vla.deploy.safety.rates import rate_channels

POWER_OFF = "disable_torque_on_disconnect"
"""LeRobot's word for letting an arm fall when it is disconnected, which is what it does unasked."""
USE_DEGREES = "use_degrees"
"""LeRobot's word for joints in degrees; else they are in percent of their calibrated range."""
UNITS = {True: DEGREES, False: (PERCENT,)}
"""A mapping's words for the same."""


class Setting(NamedTuple):
    """A field of a configuration.

    Attributes:
        part: The part of the configuration that has it.
        name: Its name.
        path: Its place, in words.
        said: Whether somebody spoke of it.
    """

    part: Any
    name: str
    path: str
    said: bool


def keep_power(config: Any, given: Mapping[str, Any]) -> None:
    """Let the motors of every arm stay on in the end that nobody said the opposite of.

    Args:
        config: As LeRobot decoded it.
        given: What was said.
    """
    for setting in _settings(config, given, POWER_OFF):
        if not setting.said:
            setattr(setting.part, setting.name, False)


def check_unit(config: Any, given: Mapping[str, Any], mapping: ChannelMapping) -> None:
    """Hold the unit that LeRobot will count joints in against that of the recordings.

    Args:
        config, given: As for `keep_power`.
        mapping: Of the recordings.

    Raises:
        ValueError: It is the other one; or nobody said which is meant, and LeRobot's default is not
            known to be the one.
    """
    units = _joint_units(mapping)
    counted = f"the mapping of {mapping.embodiment!r} counts joints in {sorted(units)}"
    for setting in _settings(config, given, USE_DEGREES):
        degrees = bool(getattr(setting.part, setting.name))
        if setting.said and units.intersection(UNITS[not degrees]):
            raise ValueError(
                f"`{setting.path}` is {degrees}, but {counted}: the arm would be told other places "
                f"than the recordings have. If they were made with {degrees}, that mapping is "
                f"wrong: give the right one and train again. If not, say {not degrees}."
            )
        if not setting.said and units - set(UNITS[degrees]):
            raise ValueError(
                f"Say `{setting.path}`, as it was when the recordings were made: LeRobot means "
                f"{degrees} where nothing is said, and {counted}."
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


def _settings(
    config: Any, given: Mapping[str, Any], word: str, place: str = ""
) -> Iterator[Setting]:
    """Fields whose names end in a word, of a configuration and its parts."""
    for field in fields(config) if is_dataclass(config) else ():
        value, said = getattr(config, field.name), given.get(field.name)
        if is_dataclass(value):
            told = said if isinstance(said, Mapping) else {}
            yield from _settings(value, told, word, f"{place}{field.name}.")
        elif field.name.endswith(word):
            yield Setting(config, field.name, f"{place}{field.name}", field.name in given)
