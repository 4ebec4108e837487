"""A recording in Rerun; the one file that imports it.

camera/NAME      pictures                 due/GROUP/CHANNEL    what the policy wanted
state/...        where the robot was      sent/...             what it was told
events           held, moving, the end
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vla.deploy.drive.played import PlayedRun

TIMELINE, QUALITY = "time", 85
LEVELS = {"held": "WARN", "chunk refused": "WARN"}


def write_rerun(run: PlayedRun, out: Path) -> Path:
    """Write OUT, a file that `rerun OUT` shows.

    Raises:
        ModuleNotFoundError: Rerun is not installed.
        ValueError: The file exists.
    """
    import rerun

    if out.exists():
        raise ValueError(f"{out} exists. Give another name, or delete it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    stream = rerun.RecordingStream("rvq-action")
    stream.save(out)
    stream.log("instruction", rerun.TextDocument(run.instruction), static=True)
    for name in ("state", "due", "sent"):
        _log_curves(stream, run, name)
    for time, kind, detail in run.events:
        stream.set_time(TIMELINE, duration=time)
        stream.log("events", rerun.TextLog(f"{kind}: {detail}", level=LEVELS.get(kind, "INFO")))
    for period, images in run.pictures():
        stream.set_time(TIMELINE, duration=run.times[period])
        for camera, image in images.items():
            view = rerun.Image(image).compress(jpeg_quality=QUALITY)
            stream.log(f"camera/{camera}", view)
    stream.disconnect()
    return out


def _log_curves(stream: Any, run: PlayedRun, name: str) -> None:
    """A curve for each channel, where it is known."""
    import rerun

    values = getattr(run, name)
    for index, channel in enumerate(run.layout.channels):
        known = np.isfinite(values[:, index])
        if known.any():
            times = [rerun.TimeColumn(TIMELINE, duration=run.times[known])]
            curve = rerun.Scalars.columns(scalars=values[known, index])
            stream.send_columns(f"{name}/{channel.group}/{channel.name}", times, curve)
