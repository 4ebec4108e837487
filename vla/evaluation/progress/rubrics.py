"""The rubrics that come along: `metaworld.yaml`, or a file of one's own in its place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from rvq_action.data.yaml_file import read_yaml
from vla.deploy.robots.metaworld import SIGNALS
from vla.deploy.robots.metaworld_tasks import check_task
from vla.evaluation.progress.rubric import Rubric

PACKAGED = Path(str(files("vla") / "evaluation" / "progress" / "metaworld.yaml"))


def load_rubrics(path: str | Path = PACKAGED) -> dict[str, Rubric]:
    """Task -> its rubric.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged; names the task and the stage.
    """
    data = read_yaml(path)
    if not isinstance(data, Mapping) or not data:
        raise ValueError(f"{path} must hold a list of stages for each task, by its name.")
    for task in data:
        check_task(task)
    return {task: Rubric.from_data(task, stages, SIGNALS) for task, stages in data.items()}


@cache
def packaged_rubrics() -> dict[str, Rubric]:
    """Those that come along."""
    return load_rubrics()


@cache
def rubrics_digest() -> str:
    """Equal for equal rubrics that come along."""
    return hashlib.sha256(repr(sorted(packaged_rubrics().items())).encode()).hexdigest()[:16]
