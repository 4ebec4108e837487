"""At what speed a robot moved in a dataset, where the dataset says it.

`rvq-vla drive` runs slowly unless it is told otherwise, and what it records becomes a dataset: its
motion is that much slower than what its policy meant.
"""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path

from rvq_action.data.strict import check_keys, number
from rvq_action.housekeeping.json_file import read_json

logger = logging.getLogger(__name__)
SPEED_FILE = "meta/rvq_recording.json"
"""`{"speed": 0.2}`, beside LeRobot's own files."""


def recorded_speed(path: Path) -> float:
    """Fraction of full speed; 1 where a dataset says nothing of it.

    Raises:
        ValueError: The file that says it is damaged.
    """
    file = path / SPEED_FILE
    if not file.is_file():
        return 1.0
    told = check_keys(read_json(file), str(file), {"speed": "a fraction of full speed"})
    if not 0 < (speed := number(told["speed"], f"{file}: speed")) <= 1:
        raise ValueError(f"{file}: speed is a fraction of full speed, got {speed}.")
    return speed


def speed_text(speed: float) -> str:
    """What the file says; inverse of `recorded_speed`."""
    return json.dumps({"speed": speed}) + "\n"


@cache
def tell_speed(path: Path) -> None:
    """Say, once, that a dataset was recorded slowly, and what to do about it; errors as above."""
    if (speed := recorded_speed(path)) < 1:
        logger.warning(
            "%s was recorded at %g of full speed: what is trained on it moves as slowly. Record "
            "with --full_speed for training, or leave it out; `rvq-vla replay --full_speed` plays "
            "it as it was.",
            *(path, speed),
        )
