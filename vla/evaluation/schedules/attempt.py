"""Attempts: one start in one mode, through the whole of `vla.deploy.run`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from vla.deploy.clock import Clock, MonotonicClock, SimulatedClock
from vla.deploy.playing.inference import Inference, SimulatedInference
from vla.deploy.playing.schedule_settings import ScheduleSettings
from vla.deploy.policies.policy import Committed, Request
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.report import Ending, RunReport
from vla.deploy.robots.kinds import Defaults, MetaWorldConfig
from vla.deploy.robots.metaworld_arm import MetaWorldArm
from vla.deploy.run import run
from vla.deploy.settings import DeploymentSettings
from vla.evaluation.closed_loop.starts import Start
from vla.evaluation.schedules.settings import ScheduleTrials, Way
from vla.evaluation.schedules.trace import Trace

LOOKS = 9
"""Chunks whose median time is the latency."""


class Interrupted(KeyboardInterrupt):
    """A signal has ended an attempt; it counts for nothing."""


@dataclass(frozen=True)
class Attempts:
    """Where attempts take place.

    Attributes:
        policy: Who acts.
        guided: The same, but that it is never given frames.
        trials: How.
        latency: Of a chunk, and of one that is guided [s]; of no account on the real clock.
    """

    policy: DeployedVLA
    guided: DeployedVLA
    trials: ScheduleTrials
    latency: tuple[float, float]

    def play(self, start: Start, way: Way) -> dict[str, Any]:
        """Attempt a start; what came of it as plain data.

        Raises:
            Interrupted: By a signal.
        """
        clock: Clock = MonotonicClock() if self.trials.real_clock else SimulatedClock()
        inference: Inference | None = None
        policy = self.guided if way == "guided" else self.policy
        if not clock.is_real:
            inference = SimulatedInference(policy, clock, self.seconds(way))
        robot = self.robot(start, clock)
        config = MetaWorldConfig(start.task)
        mode = "real_time" if way == "guided" else way
        schedule = ScheduleSettings(mode, self.trials.execute_frames)
        told = DeploymentSettings(config.instruction, self.trials.seconds, schedule, keys=False)
        trace = Trace(robot.description.layout)
        looks: dict[str, Any] = {"is_done": lambda: robot.is_solved, "witness": trace}
        report = run(robot, policy, told, clock, inference, **looks)
        if report.ending is Ending.EMERGENCY_STOP:
            raise Interrupted
        return self._row(start, way, report, trace)

    def seconds(self, way: Way) -> float:
        """A chunk takes on the simulated clock [s]."""
        plain, guided = self.latency
        is_guided = way == "real_time" and not self.policy.most_given
        return guided if is_guided or way == "guided" else plain

    def robot(self, start: Start, clock: Clock) -> MetaWorldArm:
        """In front of a start."""
        policy = self.policy
        rows = policy.policy.tokenizer.mapping(policy.embodiment)
        cameras = tuple(policy.cameras.values())
        size = self.trials.image_size or policy.policy.config.image_size
        brought = Defaults(rows, policy.fps, cameras, size, clock.now)
        robot = MetaWorldConfig(start.task, start.seed).build(brought)
        assert isinstance(robot, MetaWorldArm)
        return robot

    def _row(self, start: Start, way: Way, report: RunReport, trace: Trace) -> dict[str, Any]:
        scale = self.policy.policy.tokenizer.embodiments[self.policy.embodiment].actions.scale
        bends, seams = trace.bends() / scale.numpy(), trace.seams()
        at_seams, within = bends[seams - 2], bends[trace.inside() - 2]
        return {
            "mode": way,
            **start._asdict(),
            "success": report.ending is Ending.DONE,
            "ending": report.ending,
            "seconds": report.seconds,
            "periods": len(trace.commands) + report.missed_deadlines,
            "missed": report.missed_deadlines + trace.held,
            "overrun": report.missed_deadlines,
            "jump": at_seams.mean(1).tolist(),
            "jump_by_group": _by_group(trace, at_seams * scale.numpy()),
            "inside": within.mean(1).tolist(),
            "inference_ms": dict(report.inference_ms),
            "delay_periods": dict(report.delay_periods),
        }


def _by_group(trace: Trace, jumps: np.ndarray) -> dict[str, list[float]]:
    """Of every seam, in the unit of the group."""
    groups = trace.layout.groups.items()
    return {name: jumps[:, indices].mean(1).tolist() for name, indices in groups}


def measure_latency(attempts: Attempts, start: Start) -> tuple[float, float]:
    """The time of a chunk, and of one that is guided [s]; medians on this machine."""
    policy, robot = attempts.guided, attempts.robot(start, MonotonicClock())
    robot.connect()
    try:
        seen, said = robot.observe(), MetaWorldConfig(start.task).instruction
    finally:
        robot.disconnect()
    chunk = policy.act(Request(seen, said)).astype(np.float64)
    found = []
    for committed in (None, Committed(chunk[1:], 1)):
        times = []
        for number in range(LOOKS):
            begin = time.monotonic()
            policy.act(Request(seen, said, number, committed))
            times.append(time.monotonic() - begin)
        found.append(median(times[1:]))
    return found[0], found[1]
