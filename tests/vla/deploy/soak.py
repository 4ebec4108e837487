"""A long run: a robot with two cameras, its policy behind a server, everything recorded.

python -m tests.vla.deploy.soak 600    prints what was found, and 1 where something leaks
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.rvq_action.robots import ARM
from vla.deploy.clock import Clock, MonotonicClock
from vla.deploy.playing.inference import Inference
from vla.deploy.playing.schedule_settings import ScheduleSettings
from vla.deploy.policies.policy import Policy, PolicyDescription, Request
from vla.deploy.policies.remote_policy import RemotePolicy
from vla.deploy.report import RunReport
from vla.deploy.robots.protocol import RobotDescription, RobotObservation
from vla.deploy.run import run
from vla.deploy.safety.limits import ChannelLimits, Limits
from vla.deploy.server.access import Address
from vla.deploy.server.hosting import ServerThread
from vla.deploy.server.server import PolicyServer
from vla.deploy.settings import DeploymentSettings

RATE, HORIZON, SIDE, THINKS_S = 50.0, 50, 224, 0.06
CAMERAS = ("front", "wrist")
STATM = Path("/proc/self/statm")
DESCRIPTORS = Path("/proc/self/fd")


class Waver:
    """Swings three joints; as a policy, and as one that is served."""

    image_size, needs, fingerprint = SIDE, ARM.names[:3], "waver"

    def __init__(self, thinks_s: float = THINKS_S) -> None:
        self.thinks_s = thinks_s
        cameras = {name: name for name in CAMERAS}
        self.description = PolicyDescription("arm", ARM, RATE, HORIZON, cameras, real_time=True)

    def reset(self) -> None: ...

    def check(self, instruction: str) -> None: ...

    def act(self, request: Request) -> np.ndarray:
        begin = 0.2 * request.number
        swing = 0.5 * np.sin(begin + np.arange(HORIZON)[:, None] / RATE * np.array([1.0, 1.7, 0.6]))
        time.sleep(self.thinks_s)
        return np.concatenate([swing, np.full((HORIZON, 1), 0.5)], axis=1)

    def act_many(self, requests: Sequence[Request]) -> list[np.ndarray]:
        return [self.act(request) for request in requests]


class SoakRobot:
    """Is where it was told to be; its pictures move. Nothing is kept."""

    def __init__(self, clock: Clock, side: int = SIDE) -> None:
        limit = ChannelLimits(-1, 1, velocity=4, acceleration=40)
        limits = Limits(dict.fromkeys(ARM.names[:3], limit))
        sizes = dict.fromkeys(CAMERAS, (side, side))
        self.description = RobotDescription("arm", ARM, RATE, sizes, limits)
        self.clock, self.state, self.looks = clock, np.zeros(4), 0
        self.scene = np.random.default_rng(0).integers(0, 255, (side, 2 * side, 3), dtype=np.uint8)

    def connect(self) -> None: ...

    def observe(self) -> RobotObservation:
        self.looks += 1
        side = self.scene.shape[0]
        begin = self.looks % side
        view = np.ascontiguousarray(self.scene[:, begin : begin + side])
        state = self.state.astype(np.float32)
        return RobotObservation(self.clock.now(), state, dict.fromkeys(CAMERAS, view))

    def send(self, command: np.ndarray) -> None:
        self.state = command.copy()

    def hold(self, command: np.ndarray | None) -> None: ...

    def stop(self) -> None: ...

    def disconnect(self) -> None: ...


@dataclass
class Usage:
    """What the process holds, second by second: MiB, threads, open files and sockets."""

    memory: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def look(self) -> None:
        pages = int(STATM.read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        self.threads.append(threading.active_count())
        self.files.append(len(list(DESCRIPTORS.iterdir())))

    def first(self, seconds: int) -> Usage:
        """Of the run alone, without what is made of its recording."""
        return Usage(self.memory[:seconds], self.threads[:seconds], self.files[:seconds])

    def watch(self, ended: threading.Event) -> None:
        while not ended.wait(1.0):
            self.look()


def soak(
    seconds: float,
    folder: Path,
    policy: Policy,
    clock: Clock | None = None,
    inference: Inference | None = None,
    side: int = SIDE,
) -> RunReport:
    """One run, recorded."""
    clock = clock or MonotonicClock()
    schedule = ScheduleSettings("real_time")
    settings = DeploymentSettings("wave", seconds, schedule, record=folder, keys=False)
    return run(SoakRobot(clock, side), policy, settings, clock, inference)


def main(seconds: float) -> int:
    usage, ended = Usage(), threading.Event()
    watcher = threading.Thread(target=usage.watch, args=(ended,))
    with tempfile.TemporaryDirectory() as folder:
        with ServerThread(PolicyServer(Waver(), Address(port=0))) as port:
            policy = RemotePolicy("127.0.0.1", port)
            watcher.start()
            report = soak(seconds, Path(folder) / "run", policy)
            ended.set()
            watcher.join()
            policy.close()
        size = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    after = Usage()
    after.look()
    return tell(report, usage.first(int(report.seconds)), after, size)


def tell(report: RunReport, usage: Usage, after: Usage, size: int) -> int:
    """Print what was found; 1 where the last third holds more than the middle one."""
    third = len(usage.memory) // 3
    middle, last = slice(third, 2 * third), slice(2 * third, 3 * third)
    memory = [float(np.median(usage.memory[part])) for part in (middle, last)]
    told = {
        "report": report.to_dict(),
        "memory_mib_middle_and_last_third": memory,
        "threads_most_in_middle_and_last_third": [max(usage.threads[p]) for p in (middle, last)],
        "files_most_in_middle_and_last_third": [max(usage.files[p]) for p in (middle, last)],
        "after": {"threads": after.threads, "files": after.files, "memory_mib": after.memory},
        "written_mib": size / 2**20,
    }
    print(json.dumps(told, indent=1, default=str))
    grows = memory[1] > memory[0] + 4 or any(
        max(counts[last]) > max(counts[middle]) for counts in (usage.threads, usage.files)
    )
    is_left = after.threads[0] > 1
    return int(grows or is_left or report.ending != "time is up")


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
