"""From a recording to a LeRobotDataset v3.0, however the run ended.

The dataset is in the channels of the robot's layout, with a mapping that says so beside it, and
the speed of the run: `action` is what was sent (where the robot was held, what held it),
`observation.state` what it said of itself, `held` whether it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rvq_action.data.layout_schema import layout_to_data
from rvq_action.data.mapping import Mapping
from rvq_action.data.recorded_speed import SPEED_FILE, speed_text
from rvq_action.data.resolve import OWN_FILE
from rvq_action.data.writer import LeRobotWriter
from rvq_action.housekeeping.json_file import read_json
from rvq_action.layout import ROTATION_UNIT, ActionLayout, DeltaRule
from vla.deploy.recording.journal import read_journal
from vla.deploy.recording.live_video import even, read_live_video
from vla.deploy.recording.recorder import video_path
from vla.deploy.safety.rates import rate_channels

DATASET = "dataset"
IMAGES, STATE, ACTION, HELD = "observation.images.", "observation.state", "action", "held"


@dataclass(frozen=True)
class Rows:
    """The periods of a recording that are whole.

    Attributes:
        state: float32 [N, D]; NaN where the robot does not know.
        action: float32 [N, D]; what holds a channel that nobody knows yet is its first command, and
            NaN where there is none.
        held: bool [N].
    """

    state: np.ndarray
    action: np.ndarray
    held: np.ndarray


def finalize(folder: Path) -> Path:
    """Make a dataset of a recording; one that is there already stays as it is.

    Args:
        folder: Of the recording; its process may have been killed.

    Returns:
        The folder of the dataset.

    Raises:
        ValueError: Nothing was recorded, or nothing that was told; or a file of it is damaged.
    """
    import yaml

    if (target := folder / DATASET).exists():
        return target
    run = read_json(folder / "run.json")
    layout = ActionLayout.from_dict(run["layout"])
    cameras = {name: even(tuple(size)) for name, size in run["cameras"].items()}
    lines = [line for line in read_journal(folder / "steps.jsonl") if line["seen"]]
    counts = [_length(folder, name) for name in cameras]
    lines = lines[: min([len(lines), *counts])]
    if not lines:
        raise ValueError(f"{folder} holds no whole period; there is nothing to make a dataset of.")
    rows = read_rows(lines, layout)
    known, told = (np.isfinite(values).all(0) for values in (rows.state, rows.action))
    if not told.any():
        raise ValueError(
            f"The robot of {folder} was told nothing, and does not say where it stood; there is "
            "nothing to make a dataset of."
        )
    mapping = _mapping(run["embodiment"], layout, known, told)
    features = _features(layout, known, told)
    sizes = {IMAGES + name: size for name, size in cameras.items()}
    with LeRobotWriter(target, run["rate"], features, run["embodiment"], sizes) as writer:
        columns: dict[str, object] = {ACTION: rows.action[:, told], HELD: rows.held}
        if known.any():
            columns[STATE] = rows.state[:, known]
        videos = {IMAGES + name: _pictures(folder, name, len(lines)) for name in cameras}
        writer.add_episode(columns, videos, task=run["instruction"])
        writer.add_file(OWN_FILE, yaml.safe_dump(mapping.to_dict(), sort_keys=False))
        writer.add_file(SPEED_FILE, speed_text(run.get("settings", {}).get("speed", 1.0)))
    return target


def read_rows(lines: list[dict[str, Any]], layout: ActionLayout) -> Rows:
    """Lines of steps.jsonl as arrays."""
    rates = rate_channels(layout)
    states = np.array([line["state"] for line in lines], dtype=np.float64)
    first = next((line["sent"] for line in lines if line["sent"] is not None), np.nan)
    resting = np.where(rates, 0.0, np.where(np.isfinite(states[0]), states[0], first))
    actions = []
    for line in lines:
        if line["sent"] is not None:
            actions.append(np.array(line["sent"], dtype=np.float64))
            resting = np.where(rates, 0.0, actions[-1])
        else:
            actions.append(resting)
    held = np.array([line["sent"] is None for line in lines])
    return Rows(states.astype(np.float32), np.array(actions, dtype=np.float32), held)


def _features(layout: ActionLayout, known: np.ndarray, told: np.ndarray) -> dict[str, Any]:
    names = np.array(layout.names)
    state = {STATE: names[known].tolist()} if known.any() else {}
    held = {"dtype": "bool", "shape": [1], "names": None}
    return {ACTION: names[told].tolist(), HELD: held} | state


def _length(folder: Path, camera: str) -> int:
    return sum(1 for _ in read_live_video(video_path(folder, camera)))


def _pictures(folder: Path, camera: str, count: int) -> Iterator[np.ndarray]:
    return islice(read_live_video(video_path(folder, camera)), count)


def _mapping(embodiment: str, layout: ActionLayout, known: np.ndarray, told: np.ndarray) -> Mapping:
    """Of a dataset that holds the layout's own channels.

    A group that is known in part has a term for every channel that is.
    """

    def terms(feature: str, there: np.ndarray) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for group, indices in layout.groups.items():
            names = [layout.names[i] for i in indices if there[i]]
            if len(names) == len(indices):
                found[group] = _term(feature, names, layout.channels[indices[0]].unit)
            elif layout.channels[indices[0]].unit != ROTATION_UNIT:
                found |= {name: _term(feature, [name], "") for name in names}
        return found

    usable = told & (known | np.array([c.delta is DeltaRule.RAW for c in layout.channels]))
    return Mapping.from_dict(
        {
            "embodiment": embodiment,
            "robot_types": [embodiment],
            "layout": layout_to_data(layout),
            "action": terms(ACTION, usable),
            "proprio": terms(STATE, known),
        }
    )


def _term(feature: str, names: list[str], unit: str) -> dict[str, Any]:
    rotation = {"rotation": ROTATION_UNIT} if unit == ROTATION_UNIT else {}
    return {"feature": feature, "take": names, **rotation}
