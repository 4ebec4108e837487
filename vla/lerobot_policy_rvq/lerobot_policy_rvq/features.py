"""Does what LeRobot gives fit what the tokenizer and the policy were made for? Before any step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lerobot.configs.policies import PreTrainedConfig
from lerobot.utils.constants import ACTION, OBS_STATE

from rvq_action.data.rows import RowMapping
from vla.data.cameras import PREFIX


def camera_features(config: PreTrainedConfig) -> dict[str, str]:
    """The policy's name of a camera -> LeRobot's feature, of all that it is given."""
    return {key.removeprefix(PREFIX): key for key in config.image_features}


def check_features(config: PreTrainedConfig, rows: RowMapping, cameras: Sequence[str]) -> None:
    """Refuse features of another robot.

    Args:
        config: With LeRobot's features.
        rows: The robot's mapping.
        cameras: Those that the policy looks through.

    Raises:
        ValueError: Names the feature, what it is and what was expected.
    """
    mapping = rows.mapping
    read = {term.feature for term in mapping.proprio}, {term.feature for term in mapping.action}
    if not read[0] <= {OBS_STATE} or read[1] != {ACTION}:
        raise ValueError(
            f"The mapping of {mapping.embodiment!r} reads {sorted(read[0] | read[1])}, but LeRobot "
            f"hands a policy {OBS_STATE!r} and {ACTION!r} alone. Use a mapping of these two."
        )
    given = {OBS_STATE: config.robot_state_feature, ACTION: config.action_feature}
    for name, feature in given.items():
        if name in rows.columns:
            _check_width(name, feature, rows.columns[name])
    written = {i for t in mapping.action for i in t.positions(rows.columns.__getitem__)}
    silent = [n for i, n in enumerate(rows.columns[ACTION]) if i not in written]
    if silent:
        raise ValueError(
            f"The mapping of {mapping.embodiment!r} says nothing of {silent}, which the robot is "
            "commanded by. Train the tokenizer with a mapping of all of its numbers."
        )
    check_cameras(cameras, camera_features(config))


def check_cameras(cameras: Sequence[str], found: Mapping[str, str]) -> None:
    """Refuse to look through a camera that is not there.

    Raises:
        ValueError: Names it, and those that there are.
    """
    missing = [name for name in cameras if name not in found]
    if missing:
        raise ValueError(
            f"The policy looks through the cameras {list(cameras)}, of which {missing} are "
            f"missing: there are {sorted(found)}. Rename one with "
            f'--rename_map=\'{{"THEIRS": "{PREFIX}{missing[0]}"}}\', or train with these.'
        )


def check_names(rows: RowMapping, features: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse numbers that stand in another order than those the tokenizer was trained on.

    Args:
        rows: The robot's mapping.
        features: A dataset's, as LeRobot describes them.

    Raises:
        ValueError: Names both orders.
    """
    for feature, names in rows.columns.items():
        told = features.get(feature, {}).get("names")
        told = next(iter(told.values())) if isinstance(told, Mapping) and len(told) == 1 else told
        if isinstance(told, list | tuple) and set(told) == set(names) and tuple(told) != names:
            raise ValueError(
                f"The numbers of {feature!r} stand in another order than the action tokenizer "
                f"knows: {list(told)}, not {list(names)}."
            )


def _check_width(name: str, feature: Any, numbers: Sequence[str]) -> None:
    shape = None if feature is None else tuple(feature.shape)
    if shape != (len(numbers),):
        raise ValueError(
            f"The action tokenizer was trained on {name!r} of {len(numbers)} numbers "
            f"({', '.join(numbers)}), but here it is "
            f"{'missing' if shape is None else list(shape)}. "
            "Give a dataset of that robot, or a tokenizer that was trained on this one."
        )
