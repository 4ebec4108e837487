"""Recording demonstrations in several processes, each with its own simulator."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from vla.data.demo_settings import MAX_ATTEMPTS, DemoSettings
from vla.data.demonstration import demonstrate
from vla.deploy.robots.metaworld import MetaWorldRobot
from vla.processes import become_worker


class Job(NamedTuple):
    """One demonstration to record into `path`."""

    settings: DemoSettings
    task: str
    episode: int
    path: Path


def record_all(jobs: list[Job], workers: int) -> Iterator[Job]:
    """Record demonstrations, yielding each job when its file is there.

    Args:
        jobs: What to record.
        workers: Processes. They are spawned, since a forked OpenGL context does not work.

    Raises:
        ValueError: The expert failed at every start of a job.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max(1, min(workers, len(jobs))), context, _start_worker)
    try:
        futures = {pool.submit(record, job): job for job in jobs}
        for future in as_completed(futures):
            future.result()
            yield futures[future]
    finally:
        pool.shutdown(cancel_futures=True)


def record(job: Job) -> None:
    """Record one demonstration in this process.

    Raises:
        ValueError: The expert failed at every start.
    """
    robot = _robots.get(job.task) or _replace_robot(job)
    demonstration = demonstrate(
        robot, job.settings.seeds(job.task, job.episode), job.settings.max_steps
    )
    if demonstration is None:
        raise ValueError(
            f"The expert of {job.task} failed {MAX_ATTEMPTS} times in a row within "
            f"{job.settings.max_steps} steps. Leave the task out, or raise --max_steps."
        )
    demonstration.save(job.path)


_robots: dict[str, MetaWorldRobot] = {}
"""This process's simulator: at most one, kept from job to job of the same task."""


def _replace_robot(job: Job) -> MetaWorldRobot:
    _close_robots()
    settings = job.settings
    shown = settings.image_size, settings.cameras, settings.look_alike
    _robots[job.task] = MetaWorldRobot(job.task, *shown)
    return _robots[job.task]


def _close_robots() -> None:
    for robot in _robots.values():
        robot.close()
    _robots.clear()


def _start_worker() -> None:
    become_worker(_close_robots)
