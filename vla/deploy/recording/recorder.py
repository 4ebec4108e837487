"""Recorder: writes a run down while it goes on, beside the control loop.

RUN/run.json        robot, policy, settings
RUN/steps.jsonl     a line for every period: state, what was due, what was sent, why not
RUN/events.jsonl    when the robot was held, when it moved again, how the run ended
RUN/videos/*.mp4    what the cameras saw, one picture for every line with "seen": true

The loop only puts steps into a queue. One that is full, or a disk that is, is a problem that the
loop asks for in every period, and holds the robot for: nothing moves without being recorded.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np

from rvq_action.housekeeping.json_file import write_json
from vla.deploy.recording.journal import Journal
from vla.deploy.recording.live_video import LiveVideo
from vla.deploy.robots.protocol import RobotDescription
from vla.deploy.witness import Step

QUEUE_S = 0.4
"""Seconds of steps that may wait to be written: with a fragment of video less than one second."""
PATIENCE_S = 10.0


class Recorder:
    """Records one run.

    Args:
        folder: Of the recording; must not exist.
        robot: Who is recorded.
        about: What else is to be known of the run, as plain data.
        waits: Whether a full queue is waited for, where the robot does too: in simulated time.

    Raises:
        FileExistsError: The folder exists.
    """

    def __init__(
        self, folder: Path, robot: RobotDescription, about: dict[str, Any], waits: bool = False
    ) -> None:
        check_new(folder)
        folder.mkdir(parents=True)
        (folder / "videos").mkdir()
        write_json(describe(robot) | about, folder / "run.json")
        self.folder, self.waits = folder, waits
        self._steps, self._events = (Journal(folder / f"{n}.jsonl") for n in ("steps", "events"))
        self._videos = {
            name: LiveVideo(video_path(folder, name), size, robot.rate)
            for name, size in robot.cameras.items()
        }
        room = max(2, round(QUEUE_S * robot.rate))
        self._queue: queue.Queue[Step | tuple[float, str, str] | None] = queue.Queue(room)
        self._failure, self._missing, self._is_over = "", 0, False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def hangs(self) -> bool:
        """Whether something is still being written; after `close`, a disk that does not answer."""
        return self._thread.is_alive()

    @property
    def problem(self) -> str:
        """Why the robot must not move, empty where it may."""
        if self._failure:
            return self._failure
        if self._missing and not self._queue.empty():
            return f"the disk is too slow: {self._missing} periods were not recorded"
        self._missing = 0
        return ""

    def step(self, step: Step) -> None:
        """Record a period."""
        self._put(step)

    def event(self, time: float, kind: str, detail: str) -> None:
        """Record an event."""
        self._put((time, kind, detail))

    def flush(self) -> None:
        """Return when everything has been written, or cannot be."""
        self._queue.join()

    def close(self) -> None:
        """Write what waits; a second call does nothing. A disk that hangs is left behind."""
        if not self._thread.is_alive():
            return
        self._is_over = True
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=PATIENCE_S)
            self._thread.join(PATIENCE_S)
        if self.hangs:
            self._failure = self._failure or (
                f"{self.folder} hangs: its end was not written within {PATIENCE_S:g} s. Look at "
                "the disk, or record elsewhere"
            )

    def discard(self) -> None:
        """Close it, and delete the folder: there was nothing to record."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _put(self, entry: Step | tuple[float, str, str]) -> None:
        try:
            self._queue.put(entry, block=self.waits)
        except queue.Full:
            self._missing += 1

    def _run(self) -> None:
        while not (self._is_over and self._queue.empty()):
            entry = self._queue.get()
            if entry is not None and not self._failure:
                self._guarded(entry)
            self._queue.task_done()
        self._end()

    def _guarded(self, entry: Step | tuple[float, str, str]) -> None:
        try:
            self._write(entry)
        except Exception as error:
            self._failure = (
                f"{self.folder} cannot be written any more ({type(error).__name__}: {error}). Make "
                "room on the disk, or record elsewhere"
            )

    def _write(self, entry: Step | tuple[float, str, str]) -> None:
        if not isinstance(entry, Step):
            self._events.write(dict(zip(("time", "kind", "detail"), entry, strict=True)))
            return
        seen = entry.observation is not None and not set(self._videos) - set(
            entry.observation.images
        )
        if entry.observation is not None and seen:
            for name, video in self._videos.items():
                video.add(entry.observation.images[name])
        self._steps.write(step_line(entry) | {"seen": seen})

    def _end(self) -> None:
        for video in self._videos.values():
            try:
                video.close()
            except Exception as error:
                self._failure = self._failure or f"{self.folder}: a video has no end ({error})"
        self._steps.close()
        self._events.close()


def check_new(folder: Path) -> None:
    """Refuse a folder that is there: nothing is recorded over.

    Raises:
        FileExistsError: It is.
    """
    if folder.exists():
        told = f"{os.strerror(errno.EEXIST)}; record into another folder, or delete it"
        raise FileExistsError(errno.EEXIST, told, str(folder))


def video_path(folder: Path, camera: str) -> Path:
    """Where a camera's pictures are."""
    return folder / "videos" / f"{camera.replace('/', '_')}.mp4"


def describe(robot: RobotDescription) -> dict[str, Any]:
    """A robot as plain data."""
    return {
        "embodiment": robot.embodiment,
        "layout": robot.layout.to_dict(),
        "rate": robot.rate,
        "cameras": {name: list(size) for name, size in robot.cameras.items()},
        "limits": robot.limits.to_dict(),
    }


def step_line(step: Step) -> dict[str, Any]:
    """A period as plain data; numbers that are none are null."""
    observation, due, problem = step.observation, step.due, step.problem
    return {
        "time": step.time,
        "observed": observation and observation.time,
        "state": observation and _numbers(observation.proprio),
        "due": due and _numbers(due.command),
        "chunk": due and due.chunk,
        "frame": due and due.frame,
        "sent": None if step.sent is None else _numbers(step.sent),
        "clipped": list(step.clipped),
        "held": problem and problem.reason.value,
    }


def _numbers(values: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
