"""The cameras of a dataset by the names that people give them."""

from __future__ import annotations

from collections.abc import Sequence

from rvq_action.data.lerobot import LeRobotReader

PREFIX = "observation.images."


def find_cameras(reader: LeRobotReader, wanted: Sequence[str] | None = None) -> dict[str, str]:
    """Name -> the dataset's feature.

    Args:
        reader: The dataset.
        wanted: Names, with or without `observation.images.`; all cameras where None.

    Raises:
        ValueError: The dataset lacks one; names those that it has.
    """
    known = {key.removeprefix(PREFIX): key for key in reader.camera_keys}
    names = known if wanted is None else [name.removeprefix(PREFIX) for name in wanted]
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(
            f"{reader.path} has no camera {missing}; it has {sorted(known)}. Name its own, or "
            "rename the features of the dataset."
        )
    return {name: known[name] for name in names}
