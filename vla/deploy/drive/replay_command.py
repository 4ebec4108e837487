"""`rvq-vla replay`: what was done once is done again, within limits; no policy yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla.deploy.drive.command import add_driving

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

APPROACH_S = 3.0
"""Of the way to where an episode begins, for a real robot, at full speed."""


def replay_parser() -> ArgumentParser:
    """The options of `rvq-vla replay`."""
    from jsonargparse import ArgumentParser

    description = "Play a recorded episode's actions on a robot: the check before any policy."
    parser = ArgumentParser(description=description)
    add = parser.add_argument
    add("--recording", type=str | None, default=None, help="folder of a run that was recorded")
    add("--dataset", type=str | None, default=None, help="folder of a LeRobotDataset")
    add("--episode", type=int, default=0, help="of the dataset")
    add("--mapping", type=str | None, default=None, help="the dataset's own if not given")
    add("--approach_s", type=float | None, default=None, help="to its begin (3 for a real robot)")
    add_driving(parser)
    return parser


def replay(config: Namespace) -> int:
    """Run `rvq-vla replay`.

    Returns:
        The exit status: see outcome.py.

    Raises:
        ValueError: Recording, robot and options do not fit, or nobody lets the robot move.
    """
    from rvq_action.data.dataset import RobotDataset
    from rvq_action.data.rows import RowMapping
    from vla.deploy.drive.go import Drive
    from vla.deploy.drive.recorded import RecordedPolicy, Tracking
    from vla.deploy.drive.sources import Opened
    from vla.deploy.playing.schedule_settings import ScheduleSettings
    from vla.deploy.robots.kinds import Defaults
    from vla.deploy.settings import DeploymentSettings

    told: dict[str, Any] = config.as_dict()
    drive = Drive.of(told)
    dataset = RobotDataset.open(recorded_dataset(told), told["mapping"])
    usual = APPROACH_S if drive.robot.is_real else 0.0
    approach = usual if told["approach_s"] is None else told["approach_s"]
    if approach < 0:
        raise ValueError(f"approach_s is a time in seconds, 0 or more; got {approach}.")
    policy = RecordedPolicy(dataset, told["episode"], approach)
    frames = policy.description.horizon
    schedule = ScheduleSettings("receding", frames)
    settings = DeploymentSettings(policy.instruction, schedule=schedule)
    tracking = Tracking(policy)
    rows = None if told["dataset"] is None else RowMapping(dataset.mapping)
    opened = Opened(policy.description, lambda: policy, Defaults(rows, dataset.fps))
    status = drive.go(opened, settings, tracking, lambda: tracking.is_over)
    print("\n".join(tracking.lines()))
    return status


def recorded_dataset(told: dict[str, Any]) -> Path:
    """The dataset that is told of, made of a recording where need be.

    Raises:
        ValueError: Both or none are told of, or nothing was recorded.
    """
    recording, dataset = told["recording"], told["dataset"]
    if (recording is None) == (dataset is None):
        raise ValueError("Give --recording or --dataset, one of them.")
    if dataset is not None:
        return Path(dataset)

    from vla.deploy.recording.to_dataset import finalize

    return finalize(Path(recording))
