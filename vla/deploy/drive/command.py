"""`rvq-vla drive`: a policy drives a robot, slowly unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from vla.deploy.drive.preflight import Preflight
    from vla.deploy.policy import Policy, PolicyDescription
    from vla.deploy.report import RunReport
    from vla.deploy.robots.kinds import RobotConfig
    from vla.deploy.robots.protocol import Robot
    from vla.deploy.schedule import ScheduleSettings

SLOW, SECONDS = 0.2, 30.0
"""Of a run that nothing more is said of."""


def drive_parser() -> ArgumentParser:
    """The options of `rvq-vla drive`."""
    from jsonargparse import ArgumentParser

    description = "Drive a robot by a policy: at a fifth of its speed unless told otherwise."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--policy", type=str, required=True, help="folder of the policy, or ws://HOST:PORT")
    add("--embodiment", type=str | None, default=None, help="the robot it acts as")
    add("--cameras", nargs="+", type=str, default=[], help="POLICY=ROBOT, where names differ")
    add("--schedule", type=str | None, default=None, help="how chunks follow (real_time if it can)")
    add("--execute_frames", type=int | None, default=None, help="of a chunk before the next one")
    add("--chunk_s", type=float | None, default=None, help="seconds of a chunk (the tokenizer's)")
    add("--steps", type=int | None, default=None, help="of the flow's sampler (the policy's own)")
    add("--seed", type=int, default=0, help="of the policy's noise")
    add("--device", type=str, default="cpu", help="of the network")
    add("--instruction", type=str | None, default=None, help="what to do (a simulated task's own)")
    add("--seconds", type=float, default=SECONDS, help="the run is over then")
    add_driving(parser)
    return parser


def add_driving(parser: ArgumentParser) -> None:
    """The options of every command that moves a robot."""
    add = parser.add_argument
    add("--robot", type=str, required=True, help="a YAML file, metaworld:TASK, replay:DATASET, ...")
    add("--speed", type=float | None, default=None, help=f"fraction of full speed ({SLOW})")
    add("--full_speed", action="store_true", help="as fast as it was trained")
    add("--record", type=str | None, default=None, help="new folder for the recording")
    add("--yes", action="store_true", help="do not ask before a real robot moves")
    add("--simulated_clock", action="store_true", help="let no time pass; no real robot")


def drive(config: Namespace) -> int:
    """Run `rvq-vla drive`.

    Returns:
        The exit status: see outcome.py.

    Raises:
        ValueError: Policy, robot and options do not fit, or nobody lets the robot move.
        RobotError: The robot cannot be reached.
    """
    from vla.deploy.drive.preflight import Preflight
    from vla.deploy.drive.sources import PolicyChoice, camera_names, open_policy
    from vla.deploy.robots.config import read_robot
    from vla.deploy.settings import DeploymentSettings

    told: dict[str, Any] = config.as_dict()
    robot = read_robot(told["robot"])
    speed, record = read_driving(told, robot.is_real)
    names = ("embodiment", "chunk_s", "steps", "seed", "device")
    cameras = camera_names(told["cameras"])
    opened = open_policy(
        PolicyChoice(told["policy"], cameras=cameras, **{name: told[name] for name in names})
    )
    instruction = told["instruction"] or robot.instruction
    schedule = _schedule(told, opened.policy.description)
    settings = DeploymentSettings(
        instruction, told["seconds"], schedule, speed=speed, record=record
    )
    drives = Drive(robot, told["yes"], told["simulated_clock"])
    arm = drives.built(opened.defaults)
    about = arm.description, opened.policy.description, settings, robot.is_real, opened.seen
    return drives.go(arm, opened.policy, Preflight(*about))


def read_driving(told: dict[str, Any], is_real: bool) -> tuple[float, Path | None]:
    """The speed, and the folder of the recording.

    Raises:
        ValueError: Options contradict one another.
    """
    if told["full_speed"] and told["speed"] is not None:
        raise ValueError("Give --speed or --full_speed, not both.")
    if told["simulated_clock"] and is_real:
        raise ValueError("A real robot has a real clock: leave out --simulated_clock.")
    slow = SLOW if told["speed"] is None else told["speed"]
    return 1.0 if told["full_speed"] else slow, told["record"] and Path(told["record"])
