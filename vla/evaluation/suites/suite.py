"""Suite: what a policy is judged by, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from rvq_action.data.yaml_file import read_yaml
from vla.data.demo_settings import LONGEST_EPISODE
from vla.deploy.robots.metaworld_tasks import check_tasks
from vla.evaluation.progress.rubrics import packaged_rubrics

FOLDER = Path(str(files("vla") / "evaluation" / "suites"))


@dataclass(frozen=True)
class Suite:
    """Tasks, and how they are attempted.

    Attributes:
        name: Its name.
        seen: Tasks that policies are shown in training.
        unseen: Tasks that they are not -> how these differ.
        trajectories: Fresh starts of each.
        max_steps: After which an attempt has failed.
        seed: Of the starts.
    """

    name: str
    seen: tuple[str, ...]
    unseen: Mapping[str, str] = field(default_factory=dict)
    trajectories: int = 10
    max_steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_tasks(self.tasks)
        if unjudged := sorted(set(self.tasks) - set(packaged_rubrics())):
            raise ValueError(
                f"Suite {self.name!r}: there is no rubric for the progress of {unjudged}. Add "
                "one, or take another task."
            )
        if self.trajectories < 1 or self.seed < 0 or not 1 <= self.max_steps < LONGEST_EPISODE:
            raise ValueError(
                f"Suite {self.name!r}: trajectories start at 1, seed at 0, max_steps is 1 to "
                f"{LONGEST_EPISODE - 1}; got {self.trajectories}, {self.seed}, {self.max_steps}."
            )

    @property
    def tasks(self) -> tuple[str, ...]:
        """All of them, the seen ones first."""
        return (*self.seen, *self.unseen)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """What averages are made of; those that have a task."""
        parts = {"seen": self.seen, "unseen": tuple(self.unseen), "all": self.tasks}
        return {name: tasks for name, tasks in parts.items() if tasks}

    def only(self, tasks: Sequence[str]) -> Suite:
        """A part of it.

        Raises:
            ValueError: It has no such task.
        """
        if unknown := sorted(set(tasks) - set(self.tasks)):
            raise ValueError(f"Suite {self.name!r} has no {unknown}; it has {list(self.tasks)}.")
        unseen = {task: how for task, how in self.unseen.items() if task in tasks}
        return replace(self, seen=tuple(t for t in self.seen if t in tasks), unseen=unseen)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self) | {"seen": list(self.seen), "unseen": dict(self.unseen)}


def load_suite(name: str | Path) -> Suite:
    """A suite by its packaged name, or from a YAML of its own.

    Raises:
        ValueError: There is no such suite, or it is damaged; says what is wrong.
    """
    packaged = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
    path = packaged.get(str(name), Path(name))
    if not path.is_file():
        raise ValueError(
            f"There is no suite {str(name)!r}: give one of {list(packaged)}, or a YAML."
        )
    data = read_yaml(path)
    known = {spec.name for spec in fields(Suite)}
    if not isinstance(data, Mapping) or not {"name", "seen"} <= set(data) <= known:
        said = sorted(map(str, data)) if isinstance(data, Mapping) else data
        raise ValueError(
            f"{path} must give name, seen, and perhaps others of {sorted(known)}: {said}."
        )
    if not isinstance(data["seen"], list) or not isinstance(data.get("unseen", {}), Mapping):
        raise ValueError(f"{path}: seen is a list of tasks, unseen says of each how it differs.")
    return Suite(**{**data, "seen": tuple(data["seen"])})
