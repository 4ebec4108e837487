"""Runs side by side, each in a process of its own, so that none of them can hurt another."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rvq_action.housekeeping.file_lock import lock

POLL_SECONDS = 0.1
GRACE_SECONDS = 20
"""How long a run that is told to stop may take."""
BUSY = "another process is training it"


@dataclass(frozen=True)
class Places:
    """Where runs may go.

    Attributes:
        jobs: Runs at a time.
        threads: Of each.
        devices: CUDA devices to take in turn; empty on a machine without.
    """

    jobs: int
    threads: int
    devices: tuple[str, ...] = ()

    @classmethod
    def on_this_machine(cls, jobs: int | None, runs: int) -> Places:
        """As many jobs as asked for, or as fit on the cores; never more than runs.

        A run has as many threads as OMP_NUM_THREADS says, or its share of the cores.
        """
        cores, told = os.cpu_count() or 1, int(os.environ.get("OMP_NUM_THREADS") or 0)
        jobs = max(1, min(jobs or cores // (told or 1), runs))
        return cls(jobs, told or max(1, cores // jobs), _devices())

    def environment(self, place: int) -> dict[str, str]:
        """The environment of a process at one of the places."""
        own = {"OMP_NUM_THREADS": str(self.threads)}
        if self.devices:
            own["CUDA_VISIBLE_DEVICES"] = self.devices[place % len(self.devices)]
        return {**os.environ, **own}


@dataclass(frozen=True)
class Work:
    """A run to be trained.

    Attributes:
        words: The command, program included.
        log: What it says is appended there; whoever trains the run holds a lock on it.
        is_done: Whether it has done what it was to do.
        resumed: Whether it goes on with a run that was stopped.
    """

    words: tuple[str, ...]
    log: Path
    is_done: Callable[[], bool]
    resumed: bool


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        number: Of the run among all.
        seconds: Wall time of the process; None where it went on with a run that was stopped.
        problem: The last thing it said, where it failed.
    """

    number: int
    seconds: float | None
    problem: str | None


def work_through(
    works: Sequence[Work],
    places: Places,
    ended: Callable[[Ended], None],
    tick: Callable[[], object] = lambda: None,
) -> None:
    """Train runs, `places.jobs` at a time; when this is interrupted they are stopped.

    Args:
        works: The runs.
        places: Where to.
        ended: Called with every run that has ended.
        tick: Called many times a second meanwhile.
    """
    waiting = list(reversed(range(len(works))))
    free, running = list(reversed(range(places.jobs))), dict[int, _Job]()
    try:
        while waiting or running:
            while waiting and free:
                place, number = free.pop(), waiting.pop()
                job = _Job.start(number, works[number], places.environment(place))
                if job is None:
                    free.append(place)
                    ended(Ended(number, None, BUSY))
                else:
                    running[place] = job
            time.sleep(POLL_SECONDS)
            tick()
            for place, job in list(running.items()):
                if job.process.poll() is not None:
                    del running[place]
                    free.append(place)
                    ended(job.close())
    finally:
        _stop(list(running.values()))


@dataclass(frozen=True)
class _Job:
    """A run that is being trained."""

    number: int
    work: Work
    process: subprocess.Popen
    log: IO[bytes]
    before: int
    began: float

    @classmethod
    def start(cls, number: int, work: Work, environment: dict[str, str]) -> _Job | None:
        """Start a run; None where another process has it.

        The lock on the log is inherited: it holds as long as the run does, even where whoever
        started the run is gone.
        """
        work.log.parent.mkdir(parents=True, exist_ok=True)
        log = work.log.open("ab")
        if not lock(log):
            log.close()
            return None
        before = os.fstat(log.fileno()).st_size
        process = subprocess.Popen(
            work.words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        return cls(number, work, process, log, before, time.monotonic())

    def close(self) -> Ended:
        """Let go of a run that has ended."""
        self.log.close()
        seconds = None if self.work.resumed else round(time.monotonic() - self.began, 1)
        if self.process.returncode == 0 and self.work.is_done():
            return Ended(self.number, seconds, None)
        return Ended(self.number, seconds, self._last_words())

    def _last_words(self) -> str:
        """The last line that the run left in its log."""
        with self.work.log.open("rb") as log:
            log.seek(self.before)
            lines = log.read().decode(errors="replace").strip().splitlines()
        if self.process.returncode < 0:
            return f"killed by signal {-self.process.returncode}"
        return lines[-1] if lines else f"exit status {self.process.returncode}"


def _devices() -> tuple[str, ...]:
    """The CUDA devices that this process may use, by the names a child process knows them by."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return tuple(named.split(",")[:count]) if named else tuple(map(str, range(count)))


def _stop(jobs: Sequence[_Job]) -> None:
    """End runs, politely first, and let go of them."""
    for job in jobs:
        job.process.terminate()
    for job in jobs:
        try:
            job.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            job.process.kill()
            job.process.wait()
        job.log.close()
