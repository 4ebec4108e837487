"""Robot datasets: read and write LeRobotDatasets, map them to a layout, cut them into windows.

Importing this package loads nothing; the names below load what they need when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvq_action.data.dataset import RobotDataset as RobotDataset
    from rvq_action.data.episode import Episode as Episode
    from rvq_action.data.idle import IdleRule as IdleRule
    from rvq_action.data.lerobot import LeRobotReader as LeRobotReader
    from rvq_action.data.mapping import Mapping as Mapping
    from rvq_action.data.split import Split as Split
    from rvq_action.data.split import split_episodes as split_episodes
    from rvq_action.data.windows import Windows as Windows
    from rvq_action.data.windows import horizon_frames as horizon_frames
    from rvq_action.data.writer import LeRobotWriter as LeRobotWriter

_HOMES = {
    "Episode": "episode",
    "RobotDataset": "dataset",
    "IdleRule": "idle",
    "LeRobotReader": "lerobot",
    "Mapping": "mapping",
    "Split": "split",
    "split_episodes": "split",
    "Windows": "windows",
    "horizon_frames": "windows",
    "LeRobotWriter": "writer",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
