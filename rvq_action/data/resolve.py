"""Find the mapping of a dataset."""

from __future__ import annotations

import logging
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from rvq_action.data.joint_unit import counts_degrees, stored_extremes, told_unit
from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.mapping import Mapping
from rvq_action.data.term import Term
from rvq_action.layout import DeltaRule, joint_space

logger = logging.getLogger(__name__)

OWN_FILE = "meta/rvq_mapping.yaml"
ACTION, STATE = "action", "observation.state"


def resolve_mapping(reader: LeRobotReader, mapping: Mapping | str | Path | None = None) -> Mapping:
    """The mapping of a dataset: the given one, else its own, else a packaged one, else joint space.

    Args:
        reader: The dataset.
        mapping: A mapping, a YAML file, or the name of a packaged mapping.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: There is no such packaged mapping, the file is wrong, or the mapping reads
            features that the dataset does not have.
    """
    if mapping is not None:
        found = mapping if isinstance(mapping, Mapping) else load_mapping(mapping)
    elif (reader.path / OWN_FILE).is_file():
        found = Mapping.from_yaml(reader.path / OWN_FILE)
    else:
        return _packaged_match(reader) or _joint_space(reader)
    check_features(found, reader)
    return found


class Choice(NamedTuple):
    """The packaged mapping of a dataset.

    Attributes:
        name: Its name.
        mapping: The mapping.
        why: What the numbers tell for it, where several fit the robot; empty where nothing does.
        others: Names of those that fit as well; only where the numbers do not tell.
    """

    name: str
    mapping: Mapping
    why: str = ""
    others: tuple[str, ...] = ()


def packaged_choice(reader: LeRobotReader) -> Choice | None:
    """The packaged mapping that fits a dataset's robot and features; None where none does.

    Where one counts joints in percent and another in degrees the numbers decide; where they do not
    tell, it is percent.
    """
    fitting = {}
    for name, file in packaged_mappings().items():
        mapping = Mapping.from_yaml(file)
        robots = [robot.lower() for robot in mapping.robot_types]
        if reader.robot_type.lower() in robots and _covers(mapping, reader):
            fitting[name] = mapping
    if not fitting:
        return None
    name, *others = fitting
    if not others:
        return Choice(name, fitting[name])
    told = told_unit(fitting[name], reader.channel_names, stored_extremes(reader))
    if told is None:
        return Choice(name, fitting[name], others=tuple(others))
    agreeing = [n for n, m in fitting.items() if counts_degrees(m) == told.in_degrees]
    name = next(iter(agreeing), name)
    return Choice(name, fitting[name], told.why)


def packaged_mappings() -> dict[str, Path]:
    """The packaged mapping files by name."""
    folder = Path(str(files("rvq_action.data") / "mappings"))
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def load_mapping(mapping: str | Path) -> Mapping:
    """A mapping from a YAML file, or a packaged one by name."""
    packaged = packaged_mappings()
    if str(mapping) in packaged:
        return Mapping.from_yaml(packaged[str(mapping)])
    if Path(mapping).suffix in (".yaml", ".yml"):
        if not Path(mapping).is_file():
            raise FileNotFoundError(f"There is no mapping file {mapping}.")
        return Mapping.from_yaml(mapping)
    raise ValueError(
        f"No packaged mapping is called {str(mapping)!r}; there are {list(packaged)}. Give one of "
        "them, or the path of a YAML file."
    )


def check_features(mapping: Mapping, reader: LeRobotReader) -> None:
    """Refuse a mapping that reads what the dataset does not have.

    Raises:
        ValueError: Names the feature or number and what there is instead.
    """
    missing = [feature for feature in mapping.features if feature not in reader.features]
    if missing:
        raise ValueError(
            f"Mapping {mapping.embodiment!r} reads {missing}, which {reader.path} does not have. "
            f"Its features are {list(reader.features)}: choose another mapping."
        )
    for term in (*mapping.action, *mapping.proprio):
        term.positions(reader.channel_names)


def check_columns(mapping: Mapping, reader: LeRobotReader) -> None:
    """Refuse a dataset whose numbers are called otherwise than those of the dataset before.

    Args:
        mapping: One that knows its `columns`; one that does not is not checked.
        reader: The dataset.

    Raises:
        ValueError: Names the numbers that differ.
    """
    for term in (*mapping.action, *mapping.proprio):
        if term.feature not in mapping.columns:
            continue
        ours, theirs = mapping.columns[term.feature], reader.channel_names(term.feature)
        read = [ours[i] for i in term.positions(mapping.columns.__getitem__)]
        found = [theirs[i] for i in term.positions(reader.channel_names)]
        if read != found:
            raise ValueError(
                f"Mapping {mapping.embodiment!r} reads {read} from {term.feature!r}, but "
                f"{reader.path} has {found} in their place."
            )


def _packaged_match(reader: LeRobotReader) -> Mapping | None:
    choice = packaged_choice(reader)
    if choice is None:
        return None
    if choice.others:
        logger.warning(
            "%s: taking mapping %s. Nothing tells whether it was recorded in degrees (LeRobot's "
            "use_degrees), as %s takes it; if so, give that one.",
            *(reader.path, choice.name, " or ".join(choice.others)),
        )
    elif choice.why:
        logger.info("%s: taking mapping %s: %s.", reader.path, choice.name, choice.why)
    return choice.mapping


def _covers(mapping: Mapping, reader: LeRobotReader) -> bool:
    """Whether the dataset has what the mapping reads, and no action channel beyond that."""
    try:
        check_features(mapping, reader)
    except ValueError:
        return False
    read: dict[str, set[int]] = {}
    for term in mapping.action:
        read.setdefault(term.feature, set()).update(term.positions(reader.channel_names))
    return all(len(taken) == len(reader.channel_names(f)) for f, taken in read.items())


def _joint_space(reader: LeRobotReader) -> Mapping:
    """The fallback: every action channel as it is, relative to a state of the same names."""
    if ACTION not in reader.features:
        raise ValueError(
            f"{reader.path} has no feature {ACTION!r}, only {list(reader.features)}. Describe its "
            f"actions in {OWN_FILE}."
        )
    names = reader.channel_names(ACTION)
    relative = STATE in reader.features and _same_channels(reader)
    rule = DeltaRule.SUBTRACT if relative else DeltaRule.RAW
    layout = joint_space(len(names), _unique(names), unit="native", delta=rule)
    group = layout.channels[0].group
    proprio = (Term(group, STATE),) if relative else ()
    origin = f"relative to {STATE!r}" if relative else "absolute"
    logger.warning(
        "%s: no mapping fits robot type %r; using its %d channels of %r as joints, %s. If that is "
        "wrong, describe them in %s.",
        *(reader.path, reader.robot_type, len(names), ACTION, origin, OWN_FILE),
    )
    known = reader.robot_type not in ("", "unknown")
    embodiment = reader.robot_type if known else reader.path.resolve().name
    return Mapping(embodiment, layout, (Term(group, ACTION),), proprio)


def _same_channels(reader: LeRobotReader) -> bool:
    action, state = reader.channel_names(ACTION), reader.channel_names(STATE)
    unnamed = not any(reader.features[f].get("names") for f in (ACTION, STATE))
    return len(action) == len(state) and (unnamed or action == state)


def _unique(names: tuple[str, ...]) -> list[str] | None:
    return list(names) if len(set(names)) == len(names) else None
