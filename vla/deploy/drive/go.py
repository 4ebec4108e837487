"""Drive: a policy and a robot, looked over, let go and told about."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from vla.deploy.clock import Clock, MonotonicClock, SimulatedClock
from vla.deploy.drive.outcome import lines, status
from vla.deploy.drive.preflight import Preflight, look_over
from vla.deploy.drive.sources import NotDriven, Opened
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.policies.remote_connection import PolicyUnavailable
from vla.deploy.recording.recorder import check_new
from vla.deploy.robots.config import read_robot
from vla.deploy.robots.kinds import RobotConfig
from vla.deploy.robots.protocol import Robot, RobotError
from vla.deploy.run import fit_together, run
from vla.deploy.safety.estop import EmergencyStop
from vla.deploy.server.access import Address
from vla.deploy.server.stop_call import by_call
from vla.deploy.settings import DeploymentSettings, check_speed
from vla.deploy.witness import Witness

RUNS = Path("runs")
"""Where runs of real robots are recorded that nobody names a folder for."""
SLOW = 0.2
"""Fraction of full speed at which a robot is driven where nothing is said."""
STOP_KEY_VARIABLE = "RVQ_ACTION_STOP_KEY"
"""Apart from the key of a policy server, which is shown to whoever answers there."""


@dataclass(frozen=True)
class Drive:
    """How a robot is driven, whoever decides.

    Attributes:
        robot: The robot.
        speed: Fraction of full speed.
        record: Folder of the recording; none where None.
        yes: Do not ask.
        stop_at: Where a call of /stop is listened for; nowhere where None.
        simulated_clock: Let no time pass.
    """

    robot: RobotConfig
    speed: float = SLOW
    record: Path | None = None
    yes: bool = False
    stop_at: Address | None = None
    simulated_clock: bool = False

    @classmethod
    def of(cls, told: dict[str, Any]) -> Drive:
        """From the options of a command.

        Raises:
            ValueError: They contradict one another, or there is no such robot or speed.
            FileExistsError: The folder of the recording exists.
        """
        if told["full_speed"] and told["speed"] is not None:
            raise ValueError("Give --speed or --full_speed, not both.")
        if told["no_record"] and told["record"]:
            raise ValueError("Give --record or --no_record, not both.")
        robot = read_robot(told["robot"])
        if told["simulated_clock"] and robot.is_real:
            raise ValueError("A real robot takes real time: leave out --simulated_clock.")
        slow = SLOW if told["speed"] is None else told["speed"]
        record = _recording(told, robot.is_real)
        speed = 1.0 if told["full_speed"] else slow
        check_speed(speed)
        stop_at = told["stop_at"] and read_address(told["stop_at"])
        return cls(robot, speed, record, told["yes"], stop_at, told["simulated_clock"])

    def go(
        self,
        opened: Opened,
        settings: DeploymentSettings,
        witness: Witness | None = None,
        is_done: Callable[[], bool] | None = None,
    ) -> int:
        """Look over, ask, run, tell.

        Args:
            opened: Who decides.
            settings: How; speed and recording are put in here.
            witness: Whoever looks on.
            is_done: Says whether the task is solved; asked of the robot where None.

        Returns:
            The exit status.

        Raises:
            NotDriven: The robot may not move, or it or its policy cannot be reached.
            ValueError: Something does not fit.
        """
        clock: Clock = SimulatedClock() if self.simulated_clock else MonotonicClock()
        stop = EmergencyStop()
        robot = self.robot.build(replace(opened.defaults, now=clock.now, stop=stop))
        settings = replace(settings, speed=self.speed, record=self.record)
        fit_together(robot.description, opened.about, settings)
        policy = opened.load()
        about = robot.description, policy.description, settings, self.robot.is_real
        preflight = Preflight(*about, opened.seen, opened.is_here)
        inference = SimulatedInference(policy, clock) if self.simulated_clock else None
        looks: dict[str, Any] = {"is_done": is_done or done(robot), "witness": witness}
        looks["ready"] = lambda: look_over(preflight, robot, self.yes)
        try:
            with by_call(stop, self.stop_at) if self.stop_at else nullcontext():
                report = run(robot, policy, settings, clock, inference, stop, **looks)
        except (RobotError, PolicyUnavailable) as error:
            raise NotDriven(str(error)) from error
        print("\n".join(lines(report)))
        return status(report)


def _recording(told: dict[str, Any], is_real: bool) -> Path | None:
    """Folder of the recording: a real robot has one unless it is told otherwise."""
    if told["record"]:
        check_new(record := Path(told["record"]))
        return record
    if not is_real or told["no_record"]:
        return None
    return RUNS / f"drive-{datetime.now():%Y%m%d-%H%M%S-%f}"


def read_address(text: str) -> Address:
    """`HOST:PORT`, with the key of the variable RVQ_ACTION_STOP_KEY.

    Raises:
        ValueError: It is none, or others can reach it and there is no key.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--stop_at takes HOST:PORT, such as 127.0.0.1:8001; got {text!r}.")
    try:
        return Address(host, int(port), os.environ.get(STOP_KEY_VARIABLE))
    except ValueError as error:
        told = f"--stop_at {text}: {error} Its key is read from ${STOP_KEY_VARIABLE}."
        raise ValueError(told) from error


def done(robot: Robot) -> Callable[[], bool]:
    """Whether the task is solved, or the recording over, where the robot knows."""
    for name in ("is_solved", "is_over"):
        if hasattr(robot, name):
            return lambda: bool(getattr(robot, name))
    return lambda: False
