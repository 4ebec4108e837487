"""ScheduleTrials: what is attempted in which ways."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from vla.deploy.playing.schedule_settings import Mode
from vla.deploy.robots.metaworld_tasks import check_tasks

PROTOCOL = 2
"""Of attempts: 1 before chunks in real time were joined."""
Way = Literal["receding", "asynchronous", "joined", "real_time", "guided", "ensemble"]
"""The schedules' modes; `guided` is `real_time` of a policy that is never given frames."""


@dataclass(frozen=True)
class ScheduleTrials:
    """Settings that decide the outcomes on a simulated clock, start by start.

    Attributes:
        tasks: Meta-World's task names.
        starts: Of each task; the same in every mode.
        modes: Ways to play chunks; `receding` is naive synchronous inference: the robot stands
            still while the policy thinks. All but `guided` where not told.
        latency_s: That a chunk takes to compute, and one that is guided [s]; measured where None.
        real_clock: Let time pass, and inference take what it takes.
        execute_frames: Of a chunk before the next one is asked for; as `ScheduleSettings`.
        max_guidance: Of real-time chunking; the usual one where None.
        steps: Of the flow's sampler; the policy's own where None.
        seed: Other numbers give other starts.
        seconds: After which an attempt has failed [s].
        image_size: In which pictures are rendered; the policy's own where None.
        fast: By the fast path, docs/inference.md.
    """

    tasks: tuple[str, ...]
    starts: int = 20
    modes: tuple[Way, ...] = get_args(Mode)
    latency_s: tuple[float, float] | None = None
    real_clock: bool = False
    execute_frames: int | None = None
    max_guidance: float | None = None
    steps: int | None = None
    seed: int = 0
    seconds: float = 10.0
    image_size: int | None = None
    fast: bool = False

    def __post_init__(self) -> None:
        check_tasks(self.tasks)
        if unknown := [mode for mode in self.modes if mode not in get_args(Way)]:
            raise ValueError(f"modes are of {get_args(Way)}, got {unknown}.")
        if not self.modes or len(set(self.modes)) != len(self.modes):
            raise ValueError(f"Name at least one mode, each once; got {list(self.modes)}.")
        steps = 1 if self.steps is None else self.steps
        if min(self.starts, steps) < 1 or self.seed < 0 or not 0 < self.seconds < math.inf:
            raise ValueError("starts and steps begin at 1, seed at 0, and seconds are positive.")
        if self.latency_s is not None and self.real_clock:
            raise ValueError("On the real clock inference takes what it takes: leave out latency.")
        if self.latency_s is not None and min(self.latency_s) < 0:
            raise ValueError(f"A latency is a time in seconds, got {list(self.latency_s)}.")

    def decisive(self) -> dict[str, Any]:
        """Everything that decides an attempt; plain data."""
        told = {k: v for k, v in asdict(self).items() if k not in ("tasks", "starts", "modes")}
        return told | {"latency_s": self.latency_s and list(self.latency_s), "protocol": PROTOCOL}
