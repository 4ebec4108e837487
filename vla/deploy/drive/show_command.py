"""`rvq-vla show`: a recorded run, in words, as an mp4, in Rerun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from vla.deploy.drive.played import PlayedRun


def show_parser() -> ArgumentParser:
    """The options of `rvq-vla show`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Look at a recorded run: in words, as an mp4, in Rerun.")
    add = parser.add_argument
    add("recording", type=str, help="its folder")
    add("--mp4", type=str | None, default=None, help="write the cameras and the commands there")
    add("--rerun", type=str | None, default=None, help="write a .rrd there, for `rerun FILE`")
    return parser


def show(config: Namespace) -> None:
    """Run `rvq-vla show`.

    Raises:
        ValueError: It is no recording, or a file that is to be written exists.
    """
    from vla.deploy.drive.played import PlayedRun

    run = PlayedRun.open(Path(config.recording))
    print("\n".join(summary(run)))
    if config.mp4 is not None:
        from vla.deploy.drive.film import film
        from vla.deploy.drive.legend import words

        print(f"Wrote {config.mp4}: {film(run, Path(config.mp4))} frames")
        print("\n".join(f"  {line}" for line in words(run)))
    if config.rerun is not None:
        from vla.deploy.drive.rerun_view import write_rerun

        print(f"Wrote {write_rerun(run, Path(config.rerun))}; look at it: rerun {config.rerun}")


def summary(run: PlayedRun) -> list[str]:
    """A recording in words."""
    held = int(np.isnan(run.sent).all(1).sum())
    seconds = len(run.times) / run.rate
    about = f"{len(run.times)} periods at {run.rate:g} Hz ({seconds:.1f} s), held in {held}"
    cameras = ", ".join(f"{name} {w} x {h}" for name, (h, w) in run.cameras.items())
    events = [f"  {time:8.2f} s  {kind}: {detail}" for time, kind, detail in run.events]
    return [
        f"told {run.instruction!r}: {about}",
        f"speed: {run.speed_in_words}",
        f"cameras: {cameras or 'none'}",
        *events,
    ]
