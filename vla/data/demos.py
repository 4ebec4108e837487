"""Demonstrations of scripted experts in simulation, as a LeRobotDataset v3.0.

OUT            the complete dataset; its settings lie in meta/rvq_demos.json
OUT.recording  work in progress: finished episodes, from which a killed run goes on
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rvq_action.data.writer import LeRobotWriter
from vla.data.demo_settings import DemoSettings
from vla.data.demo_workers import Job, record_all
from vla.data.demonstration import Demonstration
from vla.data.metaworld_rows import FEATURES, metaworld_mapping
from vla.deploy.robots.metaworld import ROBOT_TYPE
from vla.deploy.robots.metaworld_tasks import INSTRUCTIONS
from vla.deploy.robots.rendering import select_backend
from vla.processes import available_cores

SETTINGS_FILE = "meta/rvq_demos.json"
MAPPING_FILE = "meta/rvq_mapping.yaml"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DemoReport:
    """What `record_demos` did.

    Attributes:
        path: The dataset.
        reused: It was there already and nothing was recorded.
        episodes: Its number of episodes.
        frames: Its number of frames.
        failed_attempts: Failed attempts per task; they are not in the dataset.
    """

    path: Path
    reused: bool
    episodes: int
    frames: int
    failed_attempts: dict[str, int]


def record_demos(
    settings: DemoSettings, out: str | Path, workers: int | None = None, progress: bool = True
) -> DemoReport:
    """Record demonstrations, or reuse the dataset where it was recorded with these settings.

    Args:
        settings: What to record.
        out: Folder of the dataset.
        workers: Processes; one per available core where None.
        progress: Show progress bars.

    Raises:
        FileExistsError: `out` exists and is something else.
        ValueError: An expert failed too often.
        RenderingUnavailable: Off-screen rendering does not work on this machine.
    """
    out = Path(out)
    if out.exists():
        return _reuse(out, settings)
    select_backend()
    staging = out.with_name(out.name + ".recording")
    _prepare(staging, _signature(settings.recording()))
    jobs = [
        Job(settings, task, episode, staging / "episodes" / f"{task}-{episode:05d}.npz")
        for task in settings.tasks
        for episode in range(settings.episodes)
    ]
    _record(jobs, workers or available_cores(), progress)
    failed = _write(staging / "dataset", jobs, settings, progress)
    description = _signature(settings.to_dict()) | {"failed_attempts": dict(failed)}
    (staging / "dataset" / SETTINGS_FILE).write_text(json.dumps(description, indent=2))
    os.rename(staging / "dataset", out)
    shutil.rmtree(staging)
    return _report(out, reused=False)


def _signature(settings: dict[str, Any]) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("metaworld", "mujoco")}
    return {"settings": settings, "versions": versions}


def _reuse(out: Path, settings: DemoSettings) -> DemoReport:
    file = out / SETTINGS_FILE
    found = json.loads(file.read_text())["settings"] if file.exists() else None
    if found is None:
        raise FileExistsError(f"{out} exists and is no set of demonstrations. Give another --out.")
    wanted = settings.to_dict()
    found = {"look_alike": DemoSettings.look_alike, **found}  # what older recordings do not say
    differing = [f"{k} {found.get(k)}, not {v}" for k, v in wanted.items() if found.get(k) != v]
    if differing:
        raise FileExistsError(
            f"{out} was recorded with other settings: {'; '.join(differing)}. Give another --out, "
            "or delete it."
        )
    return _report(out, reused=True)


def _report(out: Path, reused: bool) -> DemoReport:
    info = json.loads((out / "meta" / "info.json").read_text())
    failed = json.loads((out / SETTINGS_FILE).read_text())["failed_attempts"]
    return DemoReport(out, reused, info["total_episodes"], info["total_frames"], failed)


def _prepare(staging: Path, signature: dict[str, Any]) -> None:
    """Keep the episodes of a run with the same settings, and nothing else."""
    file, text = staging / "settings.json", json.dumps(signature)
    if staging.exists() and not file.exists():
        raise FileExistsError(f"{staging} exists and is no unfinished recording. Move it away.")
    if staging.exists() and file.read_text() != text:
        logger.warning("Discarding %s: it was recorded with other settings.", staging)
        shutil.rmtree(staging)
    staging.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    (staging / "episodes").mkdir(exist_ok=True)
    shutil.rmtree(staging / "dataset", ignore_errors=True)


def _record(jobs: list[Job], workers: int, progress: bool) -> None:
    missing = [job for job in jobs if not job.path.exists()]
    done = len(jobs) - len(missing)
    if done:
        logger.info("Going on from %d recorded episodes.", done)
    if not missing:
        return
    finished: Iterable[Job] = record_all(missing, workers)
    bar = tqdm(finished, "record", len(jobs), initial=done, unit="ep", disable=not progress)
    for job in bar:
        bar.set_postfix_str(f"{job.task} {job.episode}")


def _write(path: Path, jobs: list[Job], settings: DemoSettings, progress: bool) -> Counter[str]:
    """Write the dataset; failed attempts per task."""
    failed: Counter[str] = Counter()
    size = (settings.image_size, settings.image_size)
    cameras = {f"observation.images.{camera}": size for camera in settings.cameras}
    with LeRobotWriter(path, settings.fps, FEATURES, ROBOT_TYPE, cameras) as writer:
        for job in tqdm(jobs, "write", unit="ep", disable=not progress):
            demo = Demonstration.load(job.path)
            columns = {"observation.state": demo.state, "action": demo.action}
            videos = {f"observation.images.{name}": demo.images[name] for name in settings.cameras}
            writer.add_episode(columns, videos, task=INSTRUCTIONS[job.task])
            if demo.failed_attempts:
                failed[job.task] += demo.failed_attempts
    (path / MAPPING_FILE).write_text(metaworld_mapping(settings.fps))
    return failed
