"""PlayedRun: a recording, to be looked at; whole, or as much of it as a kill has left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rvq_action.housekeeping.json_file import read_json
from rvq_action.layout import ActionLayout
from vla.deploy.recording.journal import read_journal
from vla.deploy.recording.live_video import read_live_video
from vla.deploy.recording.recorder import video_path
from vla.deploy.settings import speed_in_words


@dataclass(frozen=True)
class PlayedRun:
    """What a recorder has written.

    Attributes:
        folder: Of the recording.
        instruction: What the robot was told.
        layout: Its channels.
        rate: Periods per second.
        speed: Fraction of full speed; None where nobody wrote it down.
        cameras: Name -> (H, W).
        times: float64 [N], of every period, from 0 on [s].
        state: float64 [N, D]; NaN where it was not known.
        due: float64 [N, D], what the policy wanted; NaN where it wanted nothing.
        sent: float64 [N, D], what was sent; NaN where the robot was held.
        seen: bool [N], periods with a picture of every camera.
        events: (time, kind, detail).
    """

    folder: Path
    instruction: str
    layout: ActionLayout
    rate: float
    speed: float | None
    cameras: dict[str, tuple[int, int]]
    times: np.ndarray
    state: np.ndarray
    due: np.ndarray
    sent: np.ndarray
    seen: np.ndarray
    events: list[tuple[float, str, str]]

    @classmethod
    def open(cls, folder: Path) -> PlayedRun:
        """Read a recording.

        Raises:
            ValueError: It is none, holds nothing, or a file of it is damaged.
        """
        if not (folder / "run.json").is_file():
            raise ValueError(f"{folder} is no recording of a run: it has no run.json.")
        about, lines = read_json(folder / "run.json"), read_journal(folder / "steps.jsonl")
        if not lines:
            raise ValueError(f"{folder} holds no period; there is nothing to show.")
        layout, begin = ActionLayout.from_dict(about["layout"]), lines[0]["time"]
        state, due, sent = (_column(lines, n, layout.width) for n in ("state", "due", "sent"))
        told = read_journal(folder / "events.jsonl")
        return cls(
            folder,
            about["instruction"],
            layout,
            about["rate"],
            about.get("settings", {}).get("speed"),
            {name: (size[0], size[1]) for name, size in about["cameras"].items()},
            np.array([line["time"] for line in lines]) - begin,
            state,
            due,
            sent,
            np.array([line["seen"] for line in lines]),
            [(event["time"] - begin, event["kind"], event["detail"]) for event in told],
        )

    @property
    def speed_in_words(self) -> str:
        return "speed not known" if self.speed is None else speed_in_words(self.speed)

    def pictures(self) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Period and pictures by camera, as far as all of them are whole."""
        films = [read_live_video(video_path(self.folder, name)) for name in self.cameras]
        periods = np.flatnonzero(self.seen).tolist()
        for period, *images in zip(periods, *films, strict=False):
            yield period, dict(zip(self.cameras, images, strict=True))


def _column(lines: list[dict[str, Any]], name: str, width: int) -> np.ndarray:
    nothing = [None] * width
    rows = [line[name] or nothing for line in lines]
    return np.array(rows, dtype=np.float64).reshape(len(lines), width)
