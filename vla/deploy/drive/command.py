"""`rvq-vla drive`: a policy drives a robot, slowly unless told otherwise."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from vla.deploy.settings import DeploymentSettings

SECONDS = 30.0
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
    add("--fast", action="store_true", help="act by the fast path; not where chunks are guided")
    add("--guided", action="store_true", help="guide chunks in real time, docs/deploy.md")
    add("--api_key_file", type=str | None, default=None, help="holds the key of a server")
    add("--instruction", type=str | None, default=None, help="what to do (a simulated task's own)")
    add("--seconds", type=float, default=SECONDS, help="the run is over then")
    add_driving(parser)
    return parser


def add_driving(parser: ArgumentParser) -> None:
    """The options of every command that moves a robot."""
    add = parser.add_argument
    add("--robot", type=str, required=True, help="a YAML file, metaworld:TASK, replay:DATASET, ...")
    add("--speed", type=float | None, default=None, help="fraction of full speed (0.2)")
    add("--full_speed", action="store_true", help="as fast as it was trained")
    add("--record", type=str | None, default=None, help="new folder (a real robot's: runs/drive-*)")
    add("--no_record", action="store_true", help="leave no recording, of a real robot either")
    add("--stop_at", type=str | None, default=None, help="HOST:PORT of /stop, $RVQ_ACTION_STOP_KEY")
    add("--yes", action="store_true", help="do not ask before a real robot moves")
    add("--simulated_clock", action="store_true", help="let no time pass; no real robot")


def drive(config: Namespace) -> int:
    """Run `rvq-vla drive`.

    Returns:
        The exit status: see outcome.py.

    Raises:
        ValueError: Policy, robot and options do not fit, robot or server cannot be reached, or
            nobody lets the robot move. What can be known before the policy's weights are read is
            refused before.
    """
    from vla.deploy.drive.go import Drive
    from vla.deploy.drive.sources import PolicyChoice, open_policy
    from vla.deploy.server.command import read_pairs

    told: dict[str, Any] = config.as_dict()
    drive = Drive.of(told)
    names = ("embodiment", "chunk_s", "steps", "seed", "device", "fast", "guided")
    chosen = {name: told[name] for name in names} | {"key_file": told["api_key_file"]}
    chosen["cameras"] = read_pairs(told["cameras"])
    choice = PolicyChoice(told["policy"], **chosen)
    settings = _settings(told, told["instruction"] or drive.robot.instruction)
    with contextlib.closing(open_policy(choice)) as opened:
        if told["schedule"] is None and opened.about.real_time:
            settings = replace(settings, schedule=replace(settings.schedule, mode="real_time"))
        return drive.go(opened, settings)


def _settings(told: dict[str, Any], instruction: str) -> DeploymentSettings:
    """As they are where the policy has no say."""
    from vla.deploy.playing.schedule_settings import ScheduleSettings
    from vla.deploy.settings import DeploymentSettings

    schedule = ScheduleSettings(told["schedule"] or "joined", told["execute_frames"])
    return DeploymentSettings(instruction, told["seconds"], schedule)
