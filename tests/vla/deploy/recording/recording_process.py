"""Records a robot in a process of its own, to be killed or to run out of disk.

python -m tests.vla.deploy.recording.recording_process kill FOLDER    prints what is recorded
python -m tests.vla.deploy.recording.recording_process full FOLDER    may write 96 KiB to each file
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path

import numpy as np

from tests.vla.deploy.conftest import RATE, FakePolicy, FakeRobot, drive
from vla.deploy.recording.recorder import Recorder
from vla.deploy.robots.protocol import RobotObservation
from vla.deploy.settings import SafetySettings
from vla.deploy.witness import Step

LIMIT = 96 * 1024


def noise(number: int) -> np.ndarray:
    """A picture that does not compress."""
    return np.random.default_rng(number).integers(0, 255, (16, 24, 3), dtype=np.uint8)


def record_for_ever(folder: Path) -> None:
    robot = FakeRobot()
    recorder = Recorder(folder, robot.description, {"instruction": "wave"}, waits=True)
    number = 0
    while True:
        time, values = number / RATE, np.full(4, float(number))
        observation = RobotObservation(time, values, {"front": noise(number)})
        recorder.step(Step(time, observation, None, values, (), None))
        recorder.flush()
        assert not recorder.problem
        print(number, flush=True)
        number += 1


def fill_the_disk(folder: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    robot = FakeRobot()
    robot.observe, look = (lambda: _noisy(look())), robot.observe
    safety = SafetySettings(stop_after_s=0.3)
    report, robot, _ = drive(robot, FakePolicy(), periods=100_000, record=folder, safety=safety)
    names = robot.names()
    told = {"ending": report.ending, "detail": report.detail, "problems": report.problems}
    print(json.dumps(told | {"tail": names[-12:], "sent": report.sent}))


def _noisy(observation: RobotObservation) -> RobotObservation:
    number = round(observation.time * RATE)
    return RobotObservation(observation.time, observation.proprio, {"front": noise(number)})


if __name__ == "__main__":
    {"kill": record_for_ever, "full": fill_the_disk}[sys.argv[1]](Path(sys.argv[2]))
