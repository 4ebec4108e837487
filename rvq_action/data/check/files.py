"""What the dataset says about itself: totals, statistics, actions and state present."""

from __future__ import annotations

from rvq_action.data.check.finding import Finding, counted, failed, listed, passed, warned
from rvq_action.data.check.recording import COPY_AGAIN, Recording, one_line
from rvq_action.data.lerobot import LeRobotReader

QUANTILES = ("q01", "q99")


def check_totals(reader: LeRobotReader) -> Finding:
    """Whether info.json's number of frames is that of the table of episodes."""
    stated = reader.info.raw.get("total_frames")
    counted = sum(reader.episode_length(i) for i in range(reader.num_episodes))
    if stated not in (None, counted):
        fix = "The copy is incomplete or info.json is stale: copy again, or correct total_frames."
        message = f"meta/info.json states {stated} frames, the episodes have {counted}"
        return failed("files: totals", message, fix)
    return passed("files: totals", f"{counted} frames" + ("" if stated is None else ", as stated"))


def check_stored_statistics(reader: LeRobotReader) -> Finding:
    """Whether statistics are stored for every numeric feature. Training here fits its own."""
    name = "files: statistics"
    try:
        stored = reader.statistics
    except (OSError, ValueError, KeyError) as error:
        return warned(
            name, one_line(error), "LeRobot's policies need them: write them with LeRobot."
        )
    missing = [
        f for f in ("action", "observation.state") if f in reader.features and f not in stored
    ]
    if missing:
        return warned(name, f"none stored for {listed(missing)}", COPY_AGAIN)
    if not all(q in entry for entry in stored.values() for q in QUANTILES):
        fix = "Training here fits its own; LeRobot's quantile normalisation needs them."
        return warned(name, "stored without the quantiles q01 and q99", fix)
    return passed(name, "stored, with quantiles")


def check_tasks(reader: LeRobotReader) -> Finding:
    """Whether the table of tasks can be read."""
    try:
        return passed("files: tasks", counted(len(reader.tasks), "task text"))
    except (OSError, ValueError, KeyError) as error:
        return failed("files: tasks", one_line(error), COPY_AGAIN)


def check_features(recording: Recording) -> Finding:
    """Whether there is an action to learn, and only one."""
    name, actions = "files: features", recording.action_features
    if not actions:
        fix = "Name the commanded values `action`, or say in a mapping which feature they are."
        return failed(name, f"no action among {listed(recording.names)}", fix)
    if len(actions) > 1:
        fix = "LeRobot counts them all as actions: train a policy on one and drop the others."
        return warned(name, f"several features begin with `action`: {listed(actions)}", fix)
    return passed(name, listed(recording.names))
